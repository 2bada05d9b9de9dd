"""flowmusic: recordings or symbols in, new music that follows them out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowmusic.api.clip import Generation
    from flowmusic.api.model import FlowMusic

__version__ = "0.1.0"
__all__ = ["FlowMusic", "Generation", "__version__"]


def __getattr__(name: str) -> Any:
    # torch takes seconds to import: only those who make music pay for it.
    if name in ("FlowMusic", "Generation"):
        from flowmusic.api import model

        return getattr(model, name)
    raise AttributeError(f"module 'flowmusic' has no attribute {name!r}")
