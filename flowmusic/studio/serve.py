"""Starting the service: its address, its token, its browser."""

from __future__ import annotations

import ipaddress
import logging
import secrets
import socket
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from features.files import locked
from flowmusic.studio.auth import LOOPBACK, Access

if TYPE_CHECKING:
    from flowmusic.api.model import FlowMusic

MIN_TOKEN = 16
_BACKLOG = 128
_CONNECTIONS = 512
_GRACE_S = 3
SESSION_FOLDERS = ("uploads", "lanes", "takes", "cache")


def check_host(host: str, token: str | None) -> bool:
    """Whether a host is this machine's loopback; ValueError where another is to be opened without a token."""
    if token is not None and (len(token) < MIN_TOKEN or not token.isascii() or not token.isalnum()):
        raise ValueError(
            f"--token must be {MIN_TOKEN} or more letters and digits, got {len(token)} characters"
        )
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = host == "localhost"
    if not is_loopback and token is None:
        raise ValueError(
            f"--host {host} opens the studio to every machine that reaches this one: give a --token of "
            f"{MIN_TOKEN} or more letters and digits with it"
        )
    return is_loopback


def check_folder(folder: Path) -> None:
    """ValueError where a folder holds something else than a session, or the start of one."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; expected a folder for the session")
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    others = sorted(name for name in names if name not in SESSION_FOLDERS and not name.startswith("."))
    if others and not (folder / "session.json").is_file():
        raise ValueError(
            f"{folder} holds other files ({others[0]}) and no session; expected a new folder, or a session's"
        )


def access_of(host: str, port: int, token: str | None) -> Access:
    """Who may come in."""
    is_loopback = check_host(host, token)
    hosts = LOOPBACK if is_loopback else (*LOOPBACK, host.lower(), socket.gethostname().lower())
    return Access(token or secrets.token_urlsafe(24), port, hosts, any_address=not is_loopback)


def listening_socket(host: str, port: int) -> socket.socket:
    """A bound socket; OSError, in a sentence, where the address is taken or is none."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        raise ValueError(
            f"{host}:{port} cannot be served ({error.strerror or error}): choose another --port or --host"
        ) from error
    return bound


def serve(
    folder: Path, host: str, port: int, token: str | None, load: Callable[[], FlowMusic], opens: bool
) -> None:
    """Serve until interrupted; `load` gives the model.

    Raises:
        ValueError: an address that cannot be served, a folder that another server uses, or no session.
    """
    check_host(host, token)
    check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(folder / ".lock", patience_s=0):
            _serve(folder, host, port, token, load, opens)
    except BlockingIOError as error:
        raise ValueError(
            f"{folder} is open in another studio: close that, or choose another folder"
        ) from error


def _serve(
    folder: Path, host: str, port: int, token: str | None, load: Callable[[], FlowMusic], opens: bool
) -> None:
    import uvicorn

    from flowmusic.studio.app import make_app
    from flowmusic.studio.jobs import Studio

    bound = listening_socket(host, port)
    port = bound.getsockname()[1]
    access = access_of(host, port, token)
    shown = f"[{host}]" if ":" in host else host
    if access.any_address:
        logging.getLogger(__name__).warning(
            "the studio is open to every machine that reaches %s and knows the token; what is sent is not "
            "encrypted", host,
        )  # fmt: skip
    studio = Studio(load(), folder, warms=True)
    address = f"http://{shown}:{port}/?token={access.token}"
    sys.stdout.write(f"flowmusic studio: {address}\n")
    sys.stdout.flush()
    if opens:
        webbrowser.open(address)
    config = uvicorn.Config(
        make_app(studio, access),
        log_level="warning",
        access_log=False,  # it would hold the token
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=_GRACE_S,
        h11_max_incomplete_event_size=32_768,
    )
    try:
        uvicorn.Server(config).run(sockets=[bound])
    finally:
        bound.close()
