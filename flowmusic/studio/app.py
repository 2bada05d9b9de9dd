"""The service over HTTP: its routes, and what its errors are answered with."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from flowmusic.errors import is_bad_input, sentence
from flowmusic.studio.auth import Access, Guard
from flowmusic.studio.endpoints import ENDPOINTS
from flowmusic.studio.hub import TooManyStreamsError
from flowmusic.studio.jobs import Studio
from flowmusic.studio.messages import BusyError, JsonResponse, TooLargeError
from flowmusic.studio.queue import QueueFullError
from flowmusic.studio.service import Service
from flowmusic.studio.session import NotFoundError

log = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"

Handler = Callable[[HttpRequest], Awaitable[Response]]


def make_app(studio: Studio, access: Access) -> Starlette:
    """The service around a studio, which starts and ends with it."""
    service = Service(studio)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        studio.start()
        try:
            yield
        finally:
            await run_in_threadpool(studio.close)

    routes: list[Any] = [
        Route(item.path, _answering(getattr(service, item.handler)), methods=[item.method])
        for item in ENDPOINTS
    ]
    routes.append(Mount("/", StaticFiles(directory=STATIC, html=True)))
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, access)],
        exception_handlers={HTTPException: _http_error},
        lifespan=lifespan,
    )


def _answering(handler: Handler) -> Handler:
    """The handler, whose errors become answers: one sentence, as the command line says it."""

    async def answer(http: HttpRequest) -> Response:
        try:
            return await handler(http)
        except NotFoundError as error:
            return JsonResponse({"error": str(error)}, 404)
        except (QueueFullError, BusyError, TooManyStreamsError) as error:
            return JsonResponse({"error": str(error)}, 429)
        except TooLargeError as error:
            return _hung_up(JsonResponse({"error": str(error)}, 413))
        except TimeoutError:
            return _hung_up(JsonResponse({"error": "the request was sent too slowly"}, 408))
        except ClientDisconnect:
            return JsonResponse({"error": "the client has gone"}, 400)
        except Exception as error:
            if is_bad_input(error):
                return JsonResponse({"error": sentence(error)}, 400)
            log.exception("internal error in %s %s", http.method, http.url.path)
            return JsonResponse({"error": "internal error: see what the server prints"}, 500)

    return answer


def _hung_up(answer: Response) -> Response:
    """The answer, after which the connection is closed: the rest of the body is not even read."""
    answer.headers["connection"] = "close"
    return answer


async def _http_error(http: HttpRequest, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said = {404: "there is nothing at this address", 405: "this address takes another method"}
    return JsonResponse({"error": said.get(error.status_code, str(error.detail))}, error.status_code)
