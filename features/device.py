"""Devices that networks compute on, by name, and extractors that can be moved to one."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch


@runtime_checkable
class Movable(Protocol):
    """An extractor whose networks can compute elsewhere than on the CPU; what it gives is on the CPU."""

    def to(self, device: torch.device) -> None:
        """Move its networks to `device`, where it then computes in larger batches."""
        ...


def find_device(name: str | torch.device) -> torch.device:
    """The device called `name`, such as cpu, cuda, cuda:1, mps or xpu. ValueError where it is not here."""
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # a device such as "meta" holds no numbers
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        expected = "cpu: there is no GPU that torch can use" if found is None else f"cpu, or {found.type}"
        raise ValueError(f"there is no device {str(name)!r} here; expected {expected}") from error
    return device
