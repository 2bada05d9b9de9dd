"""A service on a real port, for what a test client does not do: streams, many connections, browsers."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from flowmusic.studio.app import make_app
from flowmusic.studio.auth import Access
from flowmusic.studio.jobs import Studio
from flowmusic.studio.serve import listening_socket
from tests.studio.conftest import TOKEN, wait_for


@dataclass(frozen=True)
class Local:
    """A service in a thread of this process, on a folder of its own."""

    port: int

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        return f"{self.origin}/?token={TOKEN}"


@contextmanager
def served(model: Any, folder: Path) -> Iterator[Local]:
    """A studio on a folder, from its start to its end."""
    bound = listening_socket("127.0.0.1", 0)
    port = bound.getsockname()[1]
    app = make_app(Studio(model, folder), Access(TOKEN, port))
    with _running(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1), bound):
        yield Local(port)


@contextmanager
def on_a_port(app: Any) -> Iterator[str]:
    """Serve an app, which has started already, on a free port of this machine; gives its address."""
    bound = listening_socket("127.0.0.1", 0)
    port = bound.getsockname()[1]
    guard = app.build_middleware_stack()
    inner = guard
    while not hasattr(inner, "access"):
        inner = inner.app
    inner.access = Access(TOKEN, port)
    config = uvicorn.Config(guard, log_level="error", lifespan="off", timeout_graceful_shutdown=1)
    with _running(config, bound):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _running(config: uvicorn.Config, bound: socket.socket) -> Iterator[None]:
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[bound])), daemon=True)
    thread.start()
    wait_for(lambda: server.started)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(20)
        bound.close()
