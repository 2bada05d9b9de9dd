"""flowmusic: recordings or symbols in, new music that follows them out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from flowmusic.runtime import wait_passively

if TYPE_CHECKING:
    from flowmusic.api.clip import Clip, ClipInfo
    from flowmusic.api.model import FlowMusic
    from flowmusic.api.prepared import Prepared
    from flowmusic.api.request import Request

# A side effect of an import, because nothing later would do: see there.
wait_passively()

__version__ = "0.1.0"
__all__ = ["Clip", "ClipInfo", "FlowMusic", "Prepared", "Request", "__version__"]

_HOMES = {
    "Clip": "clip",
    "ClipInfo": "clip",
    "FlowMusic": "model",
    "Prepared": "prepared",
    "Request": "request",
}


def __getattr__(name: str) -> Any:
    # torch takes seconds to import: only those who make music pay for it.
    if name in _HOMES:
        return getattr(import_module(f"flowmusic.api.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'flowmusic' has no attribute {name!r}")
