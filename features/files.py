"""Writing files whole or not at all, and locks that end with their process."""

from __future__ import annotations

import errno
import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

PARTIAL_PREFIX = "partial-"
"""How the names of files begin that `whole_file` has not finished. (torch.save refuses a dot.)"""

_MAX_NAME_BYTES = 255
_RANDOM_BYTES = 8  # that mkstemp puts into a name
_POLL_S = 0.05


def is_folder(path: str | Path) -> bool:
    """Whether there is a folder of this name: False, unlike `Path.is_dir`, for what no file can be called."""
    return os.path.isdir(path)  # noqa: PTH112


def is_file(path: str | Path) -> bool:
    """Whether there is a file of this name: False, unlike `Path.is_file`, for what no file can be called."""
    return os.path.isfile(path)  # noqa: PTH113


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, which takes the place of `path` when the block ends well.

    If the block raises, nothing is left behind and an older `path` stays as it was. Missing folders
    are made. OSError where the folder takes no files.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(
        dir=path.parent, prefix=f"{PARTIAL_PREFIX}{_stem(path, _RANDOM_BYTES)}-", suffix=path.suffix
    )
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        partial.chmod(0o644)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def partial_path(path: Path, mark: str) -> Path:
    """A name beside `path` for what is not finished; `mark` tells it from those of others."""
    return path.with_name(f"{PARTIAL_PREFIX}{_stem(path, len(mark))}-{mark}{path.suffix}")


def _stem(path: Path, n_more: int) -> str:
    """As much of a file's stem as its partial name has room for, in UTF-8: safetensors takes nothing else."""
    room = _MAX_NAME_BYTES - len(f"{PARTIAL_PREFIX}-") - n_more - len(os.fsencode(path.suffix))
    return os.fsencode(path.stem)[: max(room, 0)].decode(errors="ignore")


@contextmanager
def locked(path: Path, patience_s: float = math.inf) -> Iterator[None]:
    """Hold `path` as a lock that one process has at a time, and that ends with it, even by `kill -9`.

    The file is made, and removed at the end: filelock leaves it, but starts over where a file that it has
    locked was removed meanwhile.

    Raises:
        BlockingIOError: another holds it for longer than `patience_s`.
        OSError: no file can be made there, or the file system has no locks.
    """
    lock = FileLock(path, fallback_to_soft=False)  # a soft lock would outlive its process
    try:
        lock.acquire(timeout=-1 if math.isinf(patience_s) else patience_s, poll_interval=_POLL_S)
    except Timeout as error:
        raise BlockingIOError(errno.EWOULDBLOCK, "another process holds the lock", str(path)) from error
    try:
        yield
    finally:
        with suppress(PermissionError):  # Windows removes no open file
            path.unlink(missing_ok=True)
        lock.release()
