"""How long a clip is, and how many frames that takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from features.controls import Controls
from features.frames import CONTROL_FRAME_RATE, frames_in
from features.references import Reference
from flowmusic.api.editing import Edit
from flowmusic.api.request import MAX_DURATION_S, MIN_DURATION_S

MAX_DEFAULT_DURATION_S = 30.0


@dataclass(frozen=True)
class LengthRule:
    """What a model says about lengths: its default duration and its latent frames."""

    default_s: float
    frame_rate: float
    control_fold: int

    def duration_s(
        self,
        asked_s: float | None,
        references: Sequence[Reference],
        controls: Controls | None = None,
        edit: Edit | None = None,
    ) -> float:
        """What was asked for; else that of the sound that is edited, the longest reference, the default.

        ValueError where that is no number of seconds from MIN_DURATION_S to MAX_DURATION_S.
        """
        if asked_s is None:
            if edit is not None and edit.end_s > 0:
                asked_s = edit.end_s + (self.default_s if edit.extend else 0.0)
            else:
                lengths = [reference.duration_s for reference in references]
                lengths += [controls.grid.duration_s] if controls is not None else []
                longest = max(lengths, default=self.default_s)
                return max(MIN_DURATION_S, min(longest, MAX_DEFAULT_DURATION_S))
        if not MIN_DURATION_S <= asked_s <= MAX_DURATION_S:
            raise ValueError(
                f"duration must be {MIN_DURATION_S:g} to {MAX_DURATION_S:g} seconds, got {asked_s!r}"
            )
        if edit is not None and edit.extend and asked_s <= edit.end_s:
            raise ValueError(
                f"a clip that extends its context of {edit.end_s:g} s must be longer, got {asked_s:g} s"
            )
        return float(asked_s)

    def latent_frames(self, duration_s: float) -> int:
        """Latent frames T of a clip."""
        return frames_in(duration_s, self.frame_rate)

    def control_frames(self, duration_s: float) -> int:
        """Control frames that those latent frames fold."""
        return self.latent_frames(duration_s) * self.control_fold

    def extraction_s(self, duration_s: float) -> float:
        """Seconds of reference that a clip needs."""
        return self.control_frames(duration_s) / CONTROL_FRAME_RATE
