"""A service on a real port, for what a test client does not do: streams, and connections side by side."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from flowmusic.studio.auth import Access
from flowmusic.studio.serve import listening_socket
from tests.studio.conftest import TOKEN, wait_for


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
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[bound])), daemon=True)
    thread.start()
    wait_for(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)
        bound.close()
