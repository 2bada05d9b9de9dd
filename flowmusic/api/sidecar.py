"""Making a clip again, or a variation of it, from its sidecar."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import torch

from features.cache import content_hash
from flowmusic.api.clip import ClipInfo
from flowmusic.api.request import MAX_SEED, Request

log = logging.getLogger(__name__)


def read_sidecar(path: str | Path) -> ClipInfo:
    """How a clip was made; files of its request that have moved are looked for beside the sidecar.

    Raises:
        ValueError: no sidecar, or a file of its request that is gone or no longer what it was.
    """
    path = Path(path)
    info = ClipInfo.load(path)
    if info.torch != torch.__version__:
        log.warning(
            "%s was made with torch %s, this is %s: the bytes may differ", path, info.torch, torch.__version__
        )
    paths = {name: _found(path, item.path, item.sha256) for name, item in info.files.items()}
    return info.updated(request=info.request.with_files(paths))


def varied_from(clip: str | Path) -> Request:
    """The request of a clip that is to be varied, with the next seed: its own noise would give the same clip.

    A clip without a sidecar beside it asks for nothing.

    Raises:
        ValueError: a sidecar that does not say how the clip was made, or whose files are gone.
    """
    beside = Path(clip).with_suffix(".json")
    if not beside.is_file():
        return Request()
    request = read_sidecar(beside).request
    return request.replace(seed=(request.seed + 1) % (MAX_SEED + 1))


def with_varied(request: Request) -> Request:
    """The request; a variation takes what it does not say from its clip. ValueError as of `varied_from`."""
    if not isinstance(request.vary, (str, Path)):
        return request
    return Request(**(varied_from(request.vary).given() | request.given()))


def _found(sidecar: Path, path: str, sha256: str) -> str:
    places = [Path(path), sidecar.parent / Path(path).name]
    there = [place for place in places if os.path.isfile(place)]  # noqa: PTH113 - Path raises for odd names
    if not there:
        raise ValueError(f"{path}, from which {sidecar} was made, is gone")
    for place in there:
        try:
            if content_hash(place) == sha256:
                return str(place)
        except OSError as error:
            raise ValueError(f"{place} cannot be read ({error.strerror})") from error
    raise ValueError(f"{there[0]} has changed since {sidecar} was made from it")


def check_model(name: str, fingerprint: str, info: ClipInfo, sidecar: str | Path) -> None:
    """ValueError unless the model of this name and fingerprint is the one that made the clip."""
    if fingerprint != info.model.fingerprint:
        raise ValueError(
            f"{sidecar} was made by the model {info.model.name} ({info.model.fingerprint}), "
            f"not by {name} ({fingerprint})"
        )
