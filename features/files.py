"""Writing files whole or not at all, and locks that end with their process."""

from __future__ import annotations

import errno
import math
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PARTIAL_PREFIX = "partial-"
"""How the names of files begin that `whole_file` has not finished. (torch.save refuses a dot.)"""

_POLL_S = 0.05


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; it takes the place of `path` when the block ends well.

    If the block raises, nothing is left behind and an older `path` stays as it was. Missing folders
    are made. OSError where the folder takes no files.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f"{PARTIAL_PREFIX}{path.stem}-"
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=path.suffix)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        partial.chmod(0o644)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def locked(path: Path, patience_s: float = math.inf) -> Iterator[None]:
    """Hold `path` as a lock that one process has at a time, and that ends with it, even by `kill -9`.

    The file is made, and removed at the end. Raises BlockingIOError where another holds it for longer
    than `patience_s`; another OSError where no file can be made, or there are no locks.
    """
    if fcntl is None:
        raise OSError(errno.ENOTSUP, "this platform has no locks of files (fcntl)")
    end = time.monotonic() + patience_s
    while (handle := _taken(path)) is None:
        if time.monotonic() >= end:
            raise BlockingIOError(errno.EWOULDBLOCK, "another process holds the lock", str(path))
        time.sleep(_POLL_S)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _taken(path: Path) -> int | None:
    """The open file of the lock; None where another has it."""
    handle, is_mine = os.open(path, os.O_RDWR | os.O_CREAT, 0o644), False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Who held it before may have removed the file that was opened here.
        is_mine = os.path.samestat(os.fstat(handle), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return None
    finally:
        if not is_mine:
            os.close(handle)
    return handle if is_mine else None
