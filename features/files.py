"""Writing files whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; it takes the place of `path` when the block ends well.

    If the block raises, nothing is left behind and an older `path` stays as it was. Missing folders
    are made. OSError where the folder takes no files.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # A plain prefix: torch.save refuses names that begin with a dot.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"partial-{path.stem}-", suffix=path.suffix)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        partial.chmod(0o644)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
