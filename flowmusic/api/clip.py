"""A clip and how it was made, and writing it with its sidecar and its plot: all of them, or none."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from features.audio import Audio, write_audio
from features.choices import drum_separator
from features.controls import Controls
from features.extract import Extractors
from features.references import Reference
from features.separators import NoSeparator
from flowmusic.api.editing import Canvas, put_back
from flowmusic.api.loudness import limited
from flowmusic.api.output import output_paths


@dataclass(frozen=True)
class Generation:
    """A clip and how it was made.

    Shape:
        audio   (C, S) float32 within [-1, 1]
        latents (T, D)
    `metadata` is plain data: the settings, the references, times, evaluations of the model. `followed` are
    the references, or what was composed in their place.
    """

    audio: np.ndarray
    sample_rate: int
    controls: Controls
    latents: Tensor
    metadata: dict[str, object]
    followed: tuple[Reference, ...] = ()

    @property
    def duration_s(self) -> float:
        return self.audio.shape[1] / self.sample_rate

    def save(
        self,
        path: str | Path,
        plot: str | Path | bool = False,
        sidecar: str | Path | bool = True,
        extractors: Extractors | None = None,
    ) -> list[Path]:
        """Write the clip (wav, flac or ogg), and beside it its settings (.json) and its plot (.png).

        `plot` or `sidecar`: True writes beside the clip, a path writes there. For the plot the clip
        is listened to by `listener` (the embedded extractors). All files appear, or none does; the
        sidecar last, so that where it stands the clip is finished. Returns clip, sidecar, plot.
        """
        clip, json_path, png_path = output_paths(Path(path), plot, sidecar)
        finals = [item for item in (clip, json_path, png_path) if item is not None]
        partials = {item: item.with_name(f".{item.stem}-{os.getpid()}{item.suffix}") for item in finals}
        try:
            for item in finals:
                item.parent.mkdir(parents=True, exist_ok=True)
            write_audio(partials[clip], self.audio, self.sample_rate)
            if json_path is not None:
                text = json.dumps(self.metadata, indent=2, ensure_ascii=False) + "\n"
                partials[json_path].write_text(text, encoding="utf-8")
            if png_path is not None:
                draw(self, partials[png_path], extractors or Extractors())
            for item in sorted(finals, key=lambda item: item == json_path):
                os.replace(partials[item], item)
        finally:
            for partial in partials.values():
                partial.unlink(missing_ok=True)
        return finals


def draw(generation: Generation, path: Path, extractors: Extractors) -> Path:
    """Plot every control against what the extractors hear in the clip."""
    from flowmusic.evaluation.listening import Ears, extract_all
    from flowmusic.plots.figures import plot_controls

    audio = Audio(generation.audio, generation.sample_rate)
    # A reference may be a drum stem already; the clip never is.
    is_none = isinstance(extractors.separator, NoSeparator)
    separator = drum_separator("embedded") if is_none else extractors.separator
    extracted = extract_all(audio, Ears(separator, extractors.melody, extractors.chords))
    text = generation.metadata.get("text")
    return plot_controls(generation.controls, extracted, audio, path, title=str(text) if text else "")


def within_peak(
    decoded: np.ndarray, peak: float, canvas: Canvas | None, sample_rate: int
) -> tuple[np.ndarray, float]:
    """The clip (C, S), turned down if it is louder than `peak`, and by how much that was.

    What is kept of a context has its own level, and the sound between belongs beside it: there only the
    peaks are turned down, all of it only if a sample lies beyond 1 even so.
    """
    if canvas is not None and canvas.kept:
        filled = put_back(limited(decoded, peak, sample_rate), canvas, sample_rate)
        audio, gain = _turned_down(filled, 1.0, peak)
    else:
        audio, gain = _turned_down(decoded, peak, peak)
    return np.ascontiguousarray(audio, dtype=np.float32), gain


def _turned_down(audio: np.ndarray, limit: float, peak: float) -> tuple[np.ndarray, float]:
    """Scaled to `peak` if a sample is beyond `limit`."""
    largest = float(np.abs(audio).max(initial=0.0))
    return (audio, 1.0) if largest <= limit else (audio * (peak / largest), peak / largest)
