"""The processes of a batch: one run at a time in a folder, none that outlives it, a GPU for each."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from features.files import locked

PARENT_VARIABLE = "FLOWMUSIC_BATCH_PARENT"
PATIENCE_S = 5.0
"""How long the processes of a killed run may take to notice."""

_WATCH_EVERY_S = 0.5


@contextmanager
def alone_in(folder: Path, rank: int, n_ranks: int, starts_others: bool) -> Iterator[None]:
    """Hold the lock of this rank in the folder of a batch, while no other run holds any.

    Every rank takes its own lock. The first also looks at those of ranks that this run does not have, or,
    where it `starts_others` only later, at all of them.

    Raises:
        ValueError: another run is still writing there, or there are no locks.
    """
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(_lock(folder, rank), PATIENCE_S))
            for path in folder.glob(_lock(folder, "*").name) if rank == 0 else ():
                other = int(path.stem.rpartition("-")[2])
                if other >= n_ranks or (starts_others and other > 0):
                    with locked(path, PATIENCE_S):
                        pass
        except BlockingIOError as error:
            raise ValueError(f"another run is still writing in {folder}: wait for it, or stop it") from error
        except OSError as error:
            raise ValueError(f"{folder} cannot be locked against other runs ({error.strerror})") from error
        yield


def _lock(folder: Path, rank: int | str) -> Path:
    return folder / f".rank-{rank}.lock"


@contextmanager
def bound_to_parent() -> Iterator[None]:
    """Processes that Lightning starts meanwhile end when this one does, even by `kill -9`.

    They would go on by themselves, and hold the locks of a run that is gone.
    """
    parent, done = os.environ.get(PARENT_VARIABLE), threading.Event()
    if parent is None:
        os.environ[PARENT_VARIABLE] = str(os.getpid())
    else:
        threading.Thread(target=_end_without, args=(int(parent), done), daemon=True).start()
    try:
        yield
    finally:
        done.set()
        if parent is None:
            del os.environ[PARENT_VARIABLE]


def _end_without(parent: int, done: threading.Event) -> None:
    while not done.wait(_WATCH_EVERY_S):
        if os.getppid() != parent:
            os._exit(1)


def device_of_rank(device: str, devices: int) -> str:
    """The GPU of this process where several were asked for; it is known once the process is launched."""
    if device != "cuda" or devices == 1:
        return device
    return f"cuda:{os.environ.get('LOCAL_RANK') or os.environ.get('SLURM_LOCALID') or 0}"
