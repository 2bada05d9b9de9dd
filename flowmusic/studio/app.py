"""The service over HTTP: one table of routes, which its OpenAPI description is made of as well."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from features.files import PARTIAL_PREFIX
from features.notation import names_a_file
from features.references import open_reference
from features.symbols import NotationError
from features.text_files import parse_json, read_json, unprintable
from flowmusic import __version__
from flowmusic.api.clip import ClipInfo
from flowmusic.api.request import Request
from flowmusic.errors import is_bad_input, sentence
from flowmusic.model_files import BUNDLED
from flowmusic.studio.auth import Access, Guard
from flowmusic.studio.hub import TooManyStreamsError
from flowmusic.studio.jobs import Studio
from flowmusic.studio.lanes import LANES, items, symbols
from flowmusic.studio.midi_file import midi_file
from flowmusic.studio.openapi import openapi
from flowmusic.studio.presets import PRESETS
from flowmusic.studio.queue import QueueFullError
from flowmusic.studio.session import MAX_STRENGTH, NotFoundError, new_id
from flowmusic.studio.take_home import chart_of, command_of, converted, download_name, zip_of
from flowmusic.studio.takes import Take, TakePaths, peaks, take_paths
from flowmusic.studio.uploads import MAX_BYTES, MAX_SEND_S, open_upload, suffix_of

log = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
MAX_BODY = 8_000_000
MAX_BODY_S = 60.0
MAX_SENDING = 4
_MEDIA = {"wav": "audio/wav", "flac": "audio/flac", "ogg": "audio/ogg"}

Handler = Callable[[HttpRequest], Awaitable[Response]]


class JsonResponse(Response):
    """JSON in ASCII: what a client sent need not be a text that UTF-8 can hold."""

    media_type = "application/json"

    def __init__(self, content: Any, status_code: int = 200) -> None:
        super().__init__(content, status_code, {"cache-control": "no-store"})

    def render(self, content: Any) -> bytes:
        return json.dumps(content).encode()


@dataclass(frozen=True)
class Endpoint:
    """One row of the table of routes; `query` names its parameters, `body` and `gives` are JSON schemas."""

    method: str
    path: str
    summary: str
    handler: str
    query: tuple[str, ...] = ()
    body: str | None = None
    gives: str = "object"


ENDPOINTS = (
    Endpoint("GET", "/api/about", "Version, model, defaults, schema of a request, presets", "about"),
    Endpoint("GET", "/api/openapi.json", "This description", "openapi"),
    Endpoint("GET", "/api/session", "The session as it stands", "session", gives="Session"),
    Endpoint("PATCH", "/api/session", "Change the session; saved before the answer", "patch_session",
             body="SessionPatch", gives="Session"),
    Endpoint("GET", "/api/session.zip", "The whole session", "session_zip", gives="application/zip"),
    Endpoint("POST", "/api/uploads", "Send a file, as raw bytes", "upload", ("name",),
             body="bytes", gives="Upload"),
    Endpoint("GET", "/api/uploads/{id}/audio", "The sound of an upload", "upload_audio", gives="audio/wav"),
    Endpoint("GET", "/api/uploads/{id}/peaks", "Lowest and highest sample of parts", "upload_peaks", ("n",)),
    Endpoint("GET", "/api/uploads/{id}/curve", "Pitch: [seconds, Hz], 0 where unvoiced", "upload_curve"),
    Endpoint("DELETE", "/api/uploads/{id}", "Hide an upload", "delete_upload", gives="Upload"),
    Endpoint("POST", "/api/uploads/{id}/restore", "Show a hidden upload again", "restore_upload",
             gives="Upload"),
    Endpoint("POST", "/api/lanes/read", "Typed chords as items of a lane", "read_lane", body="Typed"),
    Endpoint("POST", "/api/jobs", "Ask for lanes to be extracted or takes to be made", "add_job",
             body="Ask", gives="Id"),
    Endpoint("GET", "/api/jobs", "Jobs that wait, run, or are over", "jobs"),
    Endpoint("DELETE", "/api/jobs/{id}", "Cancel a job", "cancel", gives="Job"),
    Endpoint("GET", "/api/events", "Server-sent events: session, job, take, reload", "events",
             gives="text/event-stream"),
    Endpoint("GET", "/api/takes", "All takes", "takes"),
    Endpoint("PATCH", "/api/takes/{id}", "Name or star a take", "patch_take", body="TakePatch", gives="Take"),
    Endpoint("DELETE", "/api/takes/{id}", "Hide a take", "delete_take", gives="Take"),
    Endpoint("POST", "/api/takes/{id}/restore", "Show a hidden take again", "restore_take", gives="Take"),
    Endpoint("GET", "/api/takes/{id}/audio", "Its sound: wav, flac or ogg", "audio", ("format", "download"),
             gives="audio/wav"),
    Endpoint("GET", "/api/takes/{id}/plot", "Asked against heard, as a picture", "plot", gives="image/png"),
    Endpoint("GET", "/api/takes/{id}/sidecar", "How it was made", "sidecar"),
    Endpoint("GET", "/api/takes/{id}/peaks", "Lowest and highest sample of parts", "peaks", ("n",)),
    Endpoint("GET", "/api/takes/{id}/asked", "The lanes that it follows", "asked"),
    Endpoint("GET", "/api/takes/{id}/heard", "What the extractors find in it", "heard"),
    Endpoint("GET", "/api/takes/{id}/midi", "What was asked, or is heard, as MIDI", "midi", ("of",),
             gives="audio/midi"),
    Endpoint("GET", "/api/takes/{id}/chart", "The chords that it follows, as a chart", "chart",
             gives="text/plain"),
    Endpoint("GET", "/api/takes/{id}/command", "Command line and Python that make it again", "command"),
)  # fmt: skip


class TooLargeError(ValueError):
    """More bytes than are taken: 413."""


class BusyError(Exception):
    """More of this at once than the service does: 429."""


class Service:
    """The handlers of `ENDPOINTS`, each by its name there; what they do on disk is done in threads."""

    def __init__(self, studio: Studio) -> None:
        self.studio, self.session_ = studio, studio.session
        self._sending = 0

    async def about(self, http: HttpRequest) -> Response:
        return JsonResponse(await run_in_threadpool(self._about))

    def _about(self) -> dict[str, Any]:
        model = self.studio.model.model
        shape = self.studio.model.limits.shape
        return {
            "version": __version__,
            "model": {
                "name": model.name,
                "defaults": asdict(model.defaults),
                "controls": list(shape.controls),
                "style": model.network.style is not None,
                "sample_rate": self.studio.model.sample_rate,
            },
            "schema": Request.model_json_schema(),
            "presets": PRESETS,
            "max_strength": MAX_STRENGTH,
        }

    async def openapi(self, http: HttpRequest) -> Response:
        return JsonResponse(openapi(ENDPOINTS))

    async def session(self, http: HttpRequest) -> Response:
        return JsonResponse(await run_in_threadpool(self.session_.plain))

    async def patch_session(self, http: HttpRequest) -> Response:
        changes = await _json_body(http)
        return JsonResponse(await run_in_threadpool(self.session_.patch, changes))

    async def session_zip(self, http: HttpRequest) -> Response:
        name = download_name(self.session_.plain()["name"], ".zip")
        return StreamingResponse(
            zip_of(self.session_), media_type="application/zip", headers=_attachment(name)
        )

    async def upload(self, http: HttpRequest) -> Response:
        name = http.query_params.get("name", "")
        if not name or len(name) > 200 or unprintable(name):
            raise ValueError("name must be that of the file, up to 200 characters")
        name = name.replace("\\", "/").rpartition("/")[2]
        suffix_of(name)
        self.session_.check_room()
        if self._sending >= MAX_SENDING:
            raise BusyError(f"{MAX_SENDING} uploads are on their way already")
        self._sending += 1
        identity = new_id()
        sent = self.session_.uploads_folder / f"{PARTIAL_PREFIX}{identity}"
        try:
            await _receive(http, sent)
            upload = await run_in_threadpool(open_upload, sent, self.session_.uploads_folder, identity, name)
            await run_in_threadpool(self.session_.add_upload, upload)
        finally:
            self._sending -= 1
            sent.unlink(missing_ok=True)
        return JsonResponse(upload.plain())

    async def delete_upload(self, http: HttpRequest) -> Response:
        return JsonResponse(await run_in_threadpool(self.session_.delete_upload, http.path_params["id"]))

    async def restore_upload(self, http: HttpRequest) -> Response:
        identity = http.path_params["id"]
        return JsonResponse(await run_in_threadpool(self.session_.delete_upload, identity, False))

    async def upload_audio(self, http: HttpRequest) -> Response:
        return FileResponse(self._recording(http), media_type="audio/wav")

    async def upload_peaks(self, http: HttpRequest) -> Response:
        return JsonResponse(await run_in_threadpool(peaks, self._recording(http), _number(http, "n", 2000)))

    def _recording(self, http: HttpRequest) -> Path:
        upload = self.session_.upload(http.path_params["id"])
        if upload.kind != "recording":
            raise NotFoundError(f"{upload.name} is no recording")
        return self.session_.upload_path(upload)

    async def upload_curve(self, http: HttpRequest) -> Response:
        upload = self.session_.upload(http.path_params["id"])
        path = self.session_.upload_path(upload)
        if upload.kind == "recording":
            return JsonResponse(
                await _kept(path.with_suffix(".curve.json"), "its melody was not extracted yet")
            )
        return JsonResponse((await _kept(path, "it is gone")).get("curve", []))

    async def read_lane(self, http: HttpRequest) -> Response:
        return JsonResponse(await run_in_threadpool(self._read_lane, await _json_body(http)))

    def _read_lane(self, typed: Any) -> Any:
        if not isinstance(typed, dict) or not isinstance(typed.get("text"), str):
            raise ValueError("expected an object of role and text")
        if typed.get("role") != "chords":
            raise ValueError("only chords are typed: expected the role chords")
        text = typed["text"]
        if text.strip() and names_a_file(text):  # a client's path is never opened
            raise NotationError(f"{text!r:.80} names a file; expected a chart such as 'Am | F C | G7'")
        state = self.session_.plain()
        Request(chords=text, bpm=state["bpm"], beats_per_bar=state["beats_per_bar"])
        reference = open_reference("chords", text, state["bpm"], state["beats_per_bar"])
        return items("chords", reference.chord_segments(state["duration"]))

    async def add_job(self, http: HttpRequest) -> Response:
        job = await run_in_threadpool(self.studio.add_job, await _json_body(http))
        return JsonResponse({"id": job.id}, 202)

    async def jobs(self, http: HttpRequest) -> Response:
        return JsonResponse(self.studio.queue.jobs())

    async def cancel(self, http: HttpRequest) -> Response:
        try:
            return JsonResponse(self.studio.queue.cancel(http.path_params["id"]).plain())
        except KeyError as error:
            raise NotFoundError("there is no job of this id") from error

    async def events(self, http: HttpRequest) -> Response:
        stream = self.studio.hub.stream(http.headers.get("last-event-id", ""))
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(stream, media_type="text/event-stream", headers=headers)

    async def takes(self, http: HttpRequest) -> Response:
        return JsonResponse([take.plain() for take in self.session_.takes()])

    async def patch_take(self, http: HttpRequest) -> Response:
        changes = await _json_body(http)
        identity = self._take(http)[0].id
        return JsonResponse(await run_in_threadpool(self.session_.patch_take, identity, changes))

    async def delete_take(self, http: HttpRequest) -> Response:
        return JsonResponse(await run_in_threadpool(self.session_.delete_take, self._take(http)[0].id))

    async def restore_take(self, http: HttpRequest) -> Response:
        identity = self._take(http)[0].id
        return JsonResponse(await run_in_threadpool(self.session_.delete_take, identity, False))

    async def audio(self, http: HttpRequest) -> Response:
        take, paths = self._take(http)
        kind = http.query_params.get("format", "wav")
        if kind not in _MEDIA:
            raise ValueError(f"format must be one of {', '.join(_MEDIA)}, got {kind!r:.40}")
        path = paths.sound
        if kind != "wav":
            path = await run_in_threadpool(converted, path, f".{kind}")
        filename = download_name(take.name, f".{kind}") if "download" in http.query_params else None
        return FileResponse(path, media_type=_MEDIA[kind], filename=filename)

    async def plot(self, http: HttpRequest) -> Response:
        path = self._take(http)[1].plot
        if not path.is_file():
            raise NotFoundError("it was not drawn yet: the event `take` follows when it is")
        return FileResponse(path, media_type="image/png")

    async def sidecar(self, http: HttpRequest) -> Response:
        take, paths = self._take(http)
        filename = download_name(take.name, ".json") if "download" in http.query_params else None
        return FileResponse(paths.sidecar, media_type="application/json", filename=filename)

    async def peaks(self, http: HttpRequest) -> Response:
        path = self._take(http)[1].sound
        return JsonResponse(await run_in_threadpool(peaks, path, _number(http, "n", 2000)))

    async def asked(self, http: HttpRequest) -> Response:
        return JsonResponse(await _kept(self._take(http)[1].asked, "what was asked is not known"))

    async def heard(self, http: HttpRequest) -> Response:
        return JsonResponse(await self._heard(http))

    async def _heard(self, http: HttpRequest) -> Any:
        return await _kept(
            self._take(http)[1].extracted, "nothing was extracted yet: the event `take` follows when it is"
        )

    async def midi(self, http: HttpRequest) -> Response:
        of = http.query_params.get("of", "asked")
        if of not in ("asked", "heard"):
            raise ValueError(f"of must be asked or heard, got {of!r:.40}")
        take, paths = self._take(http)
        lanes = (await self._heard(http))["lanes"] if of == "heard" else await _kept(paths.asked, "unknown")
        parts = {role: symbols(role, lanes.get(role, [])) for role in LANES}
        content = midi_file(**parts, bpm=self.session_.plain()["bpm"])
        headers = _attachment(download_name(f"{take.name} ({of})", ".mid"))
        return Response(content, media_type="audio/midi", headers=headers)

    async def chart(self, http: HttpRequest) -> Response:
        lanes = await _kept(self._take(http)[1].asked, "what was asked is not known")
        if not lanes.get("chords"):
            raise NotFoundError("it follows no chords")
        state = self.session_.plain()
        text = await run_in_threadpool(chart_of, lanes["chords"], state["bpm"], state["beats_per_bar"])
        return Response(text, media_type="text/plain")

    async def command(self, http: HttpRequest) -> Response:
        info = await run_in_threadpool(ClipInfo.load, self._take(http)[1].sidecar)
        return JsonResponse(command_of(info, bundled=info.model.name == BUNDLED))

    def _take(self, http: HttpRequest) -> tuple[Take, TakePaths]:
        take = self.session_.take(http.path_params["id"])
        return take, take_paths(self.session_.takes_folder, take.id)


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


async def _json_body(http: HttpRequest) -> Any:
    """What the body says. ValueError where it is no JSON, TooLargeError beyond MAX_BODY."""
    body = bytearray()
    async with asyncio.timeout(MAX_BODY_S):
        async for piece in http.stream():
            body += piece
            if len(body) > MAX_BODY:
                raise TooLargeError(f"the body is larger than {MAX_BODY // 1_000_000} MB")
    try:
        return parse_json(body.decode("utf-8"))
    except ValueError as error:
        raise ValueError(f"the body cannot be read as JSON: {sentence(error)}") from error


async def _receive(http: HttpRequest, path: Path) -> None:
    """Write what is sent to a file, piece by piece. TooLargeError beyond MAX_BYTES, TimeoutError if slow."""
    too_large = f"the file is larger than {MAX_BYTES // 1_000_000} MB"
    said = http.headers.get("content-length", "")
    if said.isdecimal() and len(said) < 20 and int(said) > MAX_BYTES:
        raise TooLargeError(too_large)
    n_bytes = 0
    async with asyncio.timeout(MAX_SEND_S):
        with path.open("wb") as file:
            async for piece in http.stream():
                n_bytes += len(piece)
                if n_bytes > MAX_BYTES:
                    raise TooLargeError(too_large)
                file.write(piece)
    if not n_bytes:
        raise ValueError("the file is empty")


async def _kept(path: Path, otherwise: str) -> Any:
    """JSON that the server wrote; NotFoundError, saying `otherwise`, where it has not."""
    if not path.is_file():
        raise NotFoundError(otherwise)
    return await run_in_threadpool(read_json, path, "what the studio wrote")


def _number(http: HttpRequest, name: str, default: int) -> int:
    text = http.query_params.get(name, str(default))
    if not text.isascii() or not text.isdecimal() or len(text) > 6 or int(text) < 1:
        raise ValueError(f"{name} must be a whole number from 1 to 999999, got {text!r:.40}")
    return int(text)


def _attachment(name: str) -> dict[str, str]:
    from urllib.parse import quote

    return {"content-disposition": f"attachment; filename*=utf-8''{quote(name)}"}
