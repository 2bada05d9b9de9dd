"""One bounded queue of jobs and the one thread that does them; another does small work in between."""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Condition, Thread, get_native_id
from typing import Any, Literal, TypeVar

from features.extract import Progress
from flowmusic.errors import reason

log = logging.getLogger(__name__)

MAX_WAITING = 8
_KEPT = 100
_NEWS_S = 0.1
_REST_PRIORITY = 15
_BREATH_S = 0.5
"""Work that can wait begins so long after a job: pages fetch and play what it made."""

T = TypeVar("T")

State = Literal["waiting", "running", "done", "failed", "cancelled"]


class CancelledError(Exception):
    """Raised in the worker, by the progress callback, once its job was cancelled."""


class QueueFullError(Exception):
    """As many jobs wait as may wait."""


@dataclass
class Job:
    """One job; `ask` is what its kind needs, `share` the part of its `stage` that is done."""

    kind: str
    ask: Any
    id: str = field(default_factory=lambda: secrets.token_hex(6))
    state: State = "waiting"
    stage: str = ""
    share: float = 0.0
    error: str | None = None
    takes: list[str] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        return self.state in ("done", "failed", "cancelled")

    def plain(self) -> dict[str, Any]:
        names = ("id", "kind", "state", "stage", "share", "error")
        return {name: getattr(self, name) for name in names} | {"takes": list(self.takes)}


class JobQueue:
    """Jobs, done in their order by one thread.

    Args:
        work: does a job; calls its progress callback often, which raises `CancelledError`.
        idle: does one small piece of work that can wait, if there is any, and says whether there was. It is
            called in a thread of its own, of low priority, while there are no jobs: those that come begin at
            once.
        first: done before any job, by their thread.
        publish: called with ("job", data) at every change.
    """

    def __init__(
        self,
        work: Callable[[Job, Progress], None],
        idle: Callable[[], bool],
        publish: Callable[[str, Any], None],
        first: Callable[[], None] = lambda: None,
    ) -> None:
        self._work, self._idle, self._publish, self._first = work, idle, publish, first
        self._changed = Condition()
        self._jobs: dict[str, Job] = {}
        self._closed = False
        self._over_at = -_BREATH_S
        self._threads = (
            Thread(target=self._run, name="studio jobs", daemon=True),
            Thread(target=self._rest, name="studio rest", daemon=True),
        )

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def close(self, patience_s: float = 30.0) -> None:
        """Cancel everything and wait for the threads to end."""
        with self._changed:
            self._closed = True
            for job in self._jobs.values():
                if not job.is_over:
                    job.state = "cancelled"
            self._changed.notify_all()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(patience_s)

    def add(self, kind: str, ask: Any) -> Job:
        """Put a job at the end. QueueFullError where MAX_WAITING wait already."""
        with self._changed:
            if len(self._waiting()) >= MAX_WAITING:
                raise QueueFullError(
                    f"{MAX_WAITING} jobs wait already: cancel one, or wait for the next to end"
                )
            job = Job(kind, ask)
            self._jobs[job.id] = job
            over = [item.id for item in self._jobs.values() if item.is_over]
            for old in over[: max(len(self._jobs) - _KEPT, 0)]:
                del self._jobs[old]
            self._tell(job)
            self._changed.notify_all()
        return job

    def cancel(self, identity: str) -> Job:
        """End a job at once: it counts as cancelled from now on. KeyError where there is none."""
        with self._changed:
            job = self._jobs[identity]
            if not job.is_over:
                job.state = "cancelled"
                self._tell(job)
                self._changed.notify_all()
        return job

    def jobs(self) -> list[dict[str, Any]]:
        """All that wait or run, and the last that are over; oldest first."""
        with self._changed:
            return [job.plain() for job in self._jobs.values()]

    def _tell(self, job: Job) -> None:
        self._publish("job", job.plain())

    def _run(self) -> None:
        self._safely(self._first)
        while True:
            with self._changed:
                while not self._closed and not self._waiting():
                    self._changed.wait()
                if self._closed:
                    return
                job = self._waiting()[0]
                job.state = "running"
                self._tell(job)
            self._do(job)

    def _rest(self) -> None:
        with suppress(AttributeError, OSError):  # of this thread, where the system has priorities of threads
            os.setpriority(os.PRIO_PROCESS, get_native_id(), _REST_PRIORITY)
        while True:
            with self._changed:
                while not self._closed:
                    if any(not job.is_over for job in self._jobs.values()):
                        self._changed.wait()
                    elif (breath_s := self._over_at + _BREATH_S - time.monotonic()) > 0:
                        self._changed.wait(breath_s)
                    else:
                        break
                if self._closed:
                    return
            if not self._safely(self._idle):
                with self._changed:
                    if not self._closed:
                        self._changed.wait()

    def _waiting(self) -> list[Job]:
        return [job for job in self._jobs.values() if job.state == "waiting"]

    def _safely(self, function: Callable[[], T]) -> T | None:
        try:
            return function()
        except Exception as error:  # whatever is wrong with one piece never ends the service
            log.warning("%s", reason(error))
            log.debug("it was", exc_info=True)
            return None

    def _do(self, job: Job) -> None:
        last = 0.0

        def progress(stage: str, done: int, total: int) -> None:
            nonlocal last
            with self._changed:
                if job.state != "running":
                    raise CancelledError
                now = time.monotonic()
                is_news = stage != job.stage or now - last >= _NEWS_S
                job.stage, job.share = stage, done / total if total else 0.0
                if is_news:
                    last = now
                    self._tell(job)

        error = None
        try:
            progress("", 0, 1)
            self._work(job, progress)
        except CancelledError:
            pass
        except Exception as problem:  # a job that fails, for whatever reason, never ends the service
            log.debug("job %s", job.id, exc_info=True)
            error = reason(problem)
        with self._changed:
            if job.state == "running":
                job.state, job.share = ("done", 1.0) if error is None else ("failed", job.share)
            if job.state == "failed":
                job.error = error
            job.ask = None  # nothing that is over holds memory
            self._over_at = time.monotonic()
            self._tell(job)
            self._changed.notify_all()
