"""Threads of computing: sums are split among them, so that their number is part of what bytes come out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def using_threads(count: int | None) -> Iterator[None]:
    """Compute with `count` threads (None: as before); the number before is restored."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(before if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
