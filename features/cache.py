"""A folder of extracted features, found again by content, extractor and version; safetensors, no pickle."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from torch import Tensor

from features.files import locked
from features.tensor_files import read_tensors, write_tensors

logger = logging.getLogger(__name__)

CACHE_VARIABLE = "FLOWMUSIC_CACHE"
_CHUNK_BYTES = 1 << 20


def default_cache_folder() -> Path:
    """$FLOWMUSIC_CACHE, or the platform's cache folder for this program."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "flowmusic"


def content_hash(content: bytes | Path) -> str:
    """SHA-256 of bytes, or of a file's content: the name of a file plays no part."""
    digest = hashlib.sha256()
    if isinstance(content, bytes):
        digest.update(content)
    else:
        with content.open("rb") as file:
            while piece := file.read(_CHUNK_BYTES):
                digest.update(piece)
    return digest.hexdigest()


class FeatureCache:
    """Features by (content hash, extractor name, version with settings).

    An entry that cannot be read is computed anew, with a warning in the log; so is one that cannot
    be written used without being kept. Entries appear whole or not at all, and only one of the
    processes that share a folder computes an entry: others wait for it.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = default_cache_folder() if folder is None else Path(folder)

    def path(self, content_key: str, extractor_name: str, version: str) -> Path:
        """Where that entry is kept."""
        key = "\n".join((content_key, extractor_name, version))
        digest = hashlib.sha256(key.encode()).hexdigest()
        return self.folder / digest[:2] / f"{digest[2:40]}.safetensors"

    def get_or_compute(
        self, content_key: str, extractor_name: str, version: str, compute: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """The kept tensors, or those of `compute`, which are then kept."""
        path = self.path(content_key, extractor_name, version)
        if (kept := self._read(path)) is not None:
            return kept
        with ExitStack() as stack:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked(path.with_suffix(".lock")))
            except OSError as error:
                logger.debug("%s cannot be locked (%s): another process may compute it too", path, error)
            if (kept := self._read(path, warn=True)) is not None:
                return kept
            tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in compute().items()}
            self._write(path, tensors, f"{extractor_name} {version}")
        return tensors

    def _read(self, path: Path, warn: bool = False) -> dict[str, Tensor] | None:
        if not path.is_file():
            return None
        try:
            return read_tensors(path, "features")[0]
        except ValueError as error:
            if warn:
                logger.warning("the feature cache cannot be read (%s): computing it anew", error)
            return None

    def _write(self, path: Path, tensors: dict[str, Tensor], description: str) -> None:
        copies = {key: tensor.clone() for key, tensor in tensors.items()}
        try:
            write_tensors(path, copies, {"extractor": description})
        except OSError as error:
            logger.warning("the feature cache cannot keep %s (%s): going on without", path, error)
