"""What comes in and goes out over HTTP: bodies with bounds on size and time, JSON, names of downloads."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from features.text_files import parse_json, read_json
from flowmusic.errors import sentence
from flowmusic.studio.session import NotFoundError
from flowmusic.studio.uploads import MAX_BYTES, MAX_SEND_S

MAX_BODY = 8_000_000
MAX_BODY_S = 60.0


class JsonResponse(Response):
    """JSON in ASCII: what a client sent need not be a text that UTF-8 can hold."""

    media_type = "application/json"

    def __init__(self, content: Any, status_code: int = 200) -> None:
        super().__init__(content, status_code, {"cache-control": "no-store"})

    def render(self, content: Any) -> bytes:
        return json.dumps(content).encode()


class TooLargeError(ValueError):
    """More bytes than are taken: 413."""


class BusyError(Exception):
    """More of this at once than the service does: 429."""


async def json_body(http: HttpRequest) -> Any:
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


async def receive(http: HttpRequest, path: Path, name: str) -> None:
    """Write what is sent to a file, piece by piece. TooLargeError beyond MAX_BYTES, TimeoutError if slow."""
    too_large = f"{name} is larger than {MAX_BYTES // 1_000_000} MB"
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
        raise ValueError(f"{name} is empty (0 bytes)")


async def kept_json(path: Path, otherwise: str) -> Any:
    """JSON that the server wrote; NotFoundError, saying `otherwise`, where it has not."""
    if not path.is_file():
        raise NotFoundError(otherwise)
    return await run_in_threadpool(read_json, path, "what the studio wrote")


def number_of(http: HttpRequest, name: str, default: int) -> int:
    text = http.query_params.get(name, str(default))
    if not text.isascii() or not text.isdecimal() or len(text) > 6 or int(text) < 1:
        raise ValueError(f"{name} must be a whole number from 1 to 999999, got {text!r:.40}")
    return int(text)


def attachment(name: str) -> dict[str, str]:
    return {"content-disposition": f"attachment; filename*=utf-8''{quote(name)}"}
