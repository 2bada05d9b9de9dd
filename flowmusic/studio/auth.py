"""Who may speak to the service: Host, Origin and token of every request are checked before anything else."""

from __future__ import annotations

import hmac
import ipaddress
import json
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
# Scripts and styles come only from the server's files.
_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "media-src 'self' blob:; connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


@dataclass(frozen=True)
class Access:
    """The token that opens the service, and where it may be called from.

    hosts   names that a Host header may have, without port
    port    the port that it must have
    any_address   whether addresses in numbers count as well: those cannot be rebound by DNS
    """

    token: str
    port: int
    hosts: tuple[str, ...] = LOOPBACK
    any_address: bool = False

    @property
    def cookie(self) -> str:
        """Browsers share cookies between the ports of a host: each server has a name of its own."""
        return f"flowmusic-studio-{self.port}"

    def is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode(errors="replace"), self.token.encode())

    def is_host(self, host: str) -> bool:
        name, colon, port = host.rpartition(":")
        if not colon or "]" in port:
            name, port = host, "80"
        if port != str(self.port):
            return False
        return name.lower() in self.hosts or (self.any_address and _is_address(name))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


class Guard:
    """ASGI middleware that lets only requests through which `Access` allows, and adds headers to the answers.

    A foreign Host is DNS rebinding, a foreign Origin is another page's request: 403. Without token 401.
    """

    def __init__(self, app: App, access: Access) -> None:
        self.app, self.access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # no web sockets here
            return

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        refusal = self._foreign(scope["method"], headers)
        if refusal is not None:
            await _answer(with_headers, 403, refusal)
            return
        if scope["path"] == "/" and scope["method"] == "GET":
            given = parse_qs(scope["query_string"].decode("latin-1")).get("token")
            if given is not None and self.access.is_token(given[0]):
                await self._welcome(with_headers)
                return
        if not self._has_token(headers):
            await _answer(
                with_headers, 401, "the token is missing or wrong: open the address that was printed"
            )
            return
        await self.app(scope, receive, with_headers)

    def _foreign(self, method: str, headers: dict[str, list[str]]) -> str | None:
        hosts = headers.get("host", [])
        if len(hosts) != 1 or not self.access.is_host(hosts[0]):
            return "the Host header names another server"
        origins = headers.get("origin", [])
        if any(not self._is_origin(origin) for origin in origins):
            return "the Origin header names another page"
        if method not in ("GET", "HEAD") and not origins:
            sites = headers.get("sec-fetch-site", ["same-origin"])
            if any(site not in ("same-origin", "none") for site in sites):
                return "the request comes from another page"
        return None

    def _is_origin(self, origin: str) -> bool:
        scheme, separator, host = origin.partition("://")
        return bool(separator) and scheme == "http" and self.access.is_host(host)

    def _has_token(self, headers: dict[str, list[str]]) -> bool:
        for text in headers.get("authorization", []):
            kind, _, token = text.partition(" ")
            if kind.lower() == "bearer" and self.access.is_token(token.strip()):
                return True
        for text in headers.get("cookie", []):
            try:
                cookie = SimpleCookie(text).get(self.access.cookie)
            except CookieError:
                continue
            if cookie is not None and self.access.is_token(cookie.value):
                return True
        return False

    async def _welcome(self, send: Send) -> None:
        """Take the token out of the address, where it would stay in the history, into a cookie."""
        cookie = f"{self.access.cookie}={self.access.token}; HttpOnly; SameSite=Strict; Path=/"
        headers = [(b"location", b"/"), (b"set-cookie", cookie.encode()), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


async def _answer(send: Send, status: int, error: str) -> None:
    body = json.dumps({"error": error}).encode()
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
