"""Threads of computing, and memory of devices.

Sums are split among threads, so that their number is part of what bytes come out.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def wait_passively() -> None:
    """Threads of OpenMP that wait spin for a moment and then sleep, unless the user has set OMP_WAIT_POLICY.

    By default they spin for long, and beside other busy processes a clip takes three times as long; asleep at
    once, they wake too late for the many small layers of a model. OpenMP reads this once, when torch is first
    imported; processes that are started inherit it.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "2000"}


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


def free_memory(device: torch.device) -> None:
    """Give back what nothing refers to any more, after memory was not enough."""
    import torch

    gc.collect()
    if device.type != "cpu":
        torch.get_device_module(device).empty_cache()
