"""Events for every page that is open: sent by any thread, taken by server-sent event streams."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from threading import Lock
from typing import Any

MAX_STREAMS = 200
_KEPT = 256
_KEEP_ALIVE_S = 15.0


class TooManyStreamsError(RuntimeError):
    """More pages follow the events than the service can serve."""


class Hub:
    """The last events, numbered; a stream that falls behind, or comes back, starts with what it missed.

    Where that is no longer kept it gets `reload`: the page then reads everything again.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._run = secrets.token_hex(4)  # numbers of an earlier run of the server mean nothing
        self._next = 0
        self._kept: deque[tuple[int, str]] = deque(maxlen=_KEPT)
        self._streams: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}
        self._closed = False

    def publish(self, name: str, data: Any) -> None:
        """Send an event to all; from any thread."""
        with self._lock:
            text = json.dumps(data)
            self._kept.append((self._next, f"id: {self._run}-{self._next}\nevent: {name}\ndata: {text}\n\n"))
            self._next += 1
            self._wake()

    def close(self) -> None:
        """End all streams."""
        with self._lock:
            self._closed = True
            self._wake()

    @property
    def n_streams(self) -> int:
        return len(self._streams)

    def stream(self, last_id: str = "") -> AsyncIterator[str]:
        """The text of a server-sent event stream, from after `last_id` on, or from now.

        TooManyStreamsError beyond MAX_STREAMS.
        """
        if len(self._streams) >= MAX_STREAMS:
            raise TooManyStreamsError(f"{MAX_STREAMS} pages follow the events already")
        run, _, number = last_id.rpartition("-")
        resumed = run == self._run and number.isdecimal() and len(number) < 20
        with self._lock:
            position = int(number) + 1 if resumed else self._next
        return self._events(position, missed=bool(last_id) and not resumed)

    async def _events(self, position: int, missed: bool) -> AsyncIterator[str]:
        news = asyncio.Event()
        with self._lock:
            self._streams[news] = asyncio.get_running_loop()
        try:
            yield "retry: 1000\n\n"
            if missed:
                yield "event: reload\ndata: {}\n\n"
            while True:
                news.clear()
                with self._lock:
                    closed, after = self._closed, self._next
                    first = self._kept[0][0] if self._kept else after
                    texts = [text for number, text in self._kept if number >= position]
                if closed:
                    return
                if position < first or position > after:
                    yield "event: reload\ndata: {}\n\n"
                for text in texts:
                    yield text
                position = after
                try:
                    await asyncio.wait_for(news.wait(), _KEEP_ALIVE_S)
                except TimeoutError:
                    yield ": still here\n\n"
        finally:
            with self._lock:
                self._streams.pop(news, None)

    def _wake(self) -> None:
        for news, loop in list(self._streams.items()):
            with suppress(RuntimeError):  # a loop that has ended
                loop.call_soon_threadsafe(news.set)
