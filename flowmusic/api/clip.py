"""Clip: sound, and how it was made as a typed object; clip, sidecar and plot are saved together or not."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from features.audio import Audio, write_audio
from features.controls import Controls
from features.extract import Extractors
from features.files import partial_path
from features.references import Reference
from features.text_files import read_json
from flowmusic.api.output import check_new, output_paths
from flowmusic.api.request import Request

CLIP_FORMAT = "flowmusic.clip.2"


class _Info(BaseModel):
    """Plain data that is written to a sidecar and read back."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelInfo(_Info):
    """The model that made a clip; `license` and `credits` are those of its weights."""

    name: str
    fingerprint: str
    license: str = ""
    credits: str = ""


class FileInfo(_Info):
    """A file that a clip was made from."""

    path: str
    sha256: str


class ReferenceInfo(_Info):
    """A reference by name, and its length in seconds."""

    name: str
    duration: float


class StyleInfo(_Info):
    """The excerpt whose style was imitated, in seconds; `codebooks` None means all."""

    name: str
    start: float
    end: float
    codebooks: int | None


class SongInfo(_Info):
    """The song that the rule-based composer wrote for a text; chords as (start s, end s, Harte label)."""

    song: int
    style: str
    key: str
    bpm: float
    metre: str
    parts: tuple[str, ...]
    chords: tuple[tuple[float, float, str], ...]


class CandidateInfo(_Info):
    """One of several clips that the best was chosen from."""

    seed: int
    overall: float


class RowInfo(_Info):
    """The row of a manifest that asked for a clip, and the process that made it."""

    name: str
    line: int
    rank: int


class ClipInfo(_Info):
    """How a clip was made; its JSON form is the sidecar. Times are in seconds, `loudness` is in LUFS.

    `request` holds everything that was asked for, so that the same clip can be made again. `kept` are the
    spans that are the context's own samples. `scores` tell how well the clip follows each control, from 0 to
    1 (None where a reference holds nothing to follow); `overall` is their weighted mean.
    """

    format: str = CLIP_FORMAT
    flowmusic: str
    model: ModelInfo
    request: Request
    files: dict[str, FileInfo]
    references: dict[str, ReferenceInfo]
    style: StyleInfo | None
    composed: SongInfo | None
    extractors: dict[str, str]
    controls: tuple[str, ...]
    duration: float
    kept: tuple[tuple[float, float], ...]
    sample_rate: int
    seed: int
    solver: str
    steps: int
    guidance: str
    evaluations: int
    condition_sets: int
    gain: float
    loudness: float | None
    seconds: dict[str, float]
    torch: str
    dtype: str = "float32"
    threads: int
    scores: dict[str, float | None] | None = None
    overall: float | None = None
    candidates: tuple[CandidateInfo, ...] = ()
    row: RowInfo | None = Field(default=None)

    def updated(self, **values: Any) -> ClipInfo:
        """The same with other values."""
        return self.model_copy(update=values)

    def to_json(self) -> str:
        """What a sidecar holds."""
        data = self.model_dump(mode="json", exclude={"request"}) | {"request": self.request.plain()}

        return json.dumps(data, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def load(cls, path: str | Path) -> ClipInfo:
        """Read a sidecar. ValueError, naming the file, where it is something else."""
        values = read_json(path, "a clip's .json")
        if not isinstance(values, dict) or values.get("format") != CLIP_FORMAT:
            raise ValueError(f"{path} is not the .json of a clip; expected format {CLIP_FORMAT!r}")
        try:
            info = cls.model_validate(values | {"request": Request.read(values.get("request"))})
            if lacking := sorted({"separator", "melody", "chords"} - info.extractors.keys()):
                raise ValueError(f"extractors: lacks {lacking[0]!r}")
            return info
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise ValueError(f"{path} does not say how its clip was made ({place}: {first['msg']})") from None
        except ValueError as error:
            raise ValueError(f"{path} does not say how its clip was made ({error})") from error


@dataclass(frozen=True, eq=False)
class Clip:
    """A finished clip. `followed` are the references that it follows, given or composed.

    Shape:
        audio   (C, S) float32 within [-1, 1]
        latents (T, D)
    """

    audio: np.ndarray
    sample_rate: int
    controls: Controls
    latents: Tensor
    info: ClipInfo
    followed: tuple[Reference, ...] = field(default=(), repr=False)

    @property
    def duration_s(self) -> float:
        return self.audio.shape[1] / self.sample_rate

    def with_info(self, **values: Any) -> Clip:
        """The same with other values in its `info`."""
        return replace(self, info=self.info.updated(**values))

    def save(
        self,
        path: str | Path,
        plot: str | Path | bool = False,
        sidecar: str | Path | bool = True,
        extractors: Extractors | None = None,
        overwrite: bool = True,
    ) -> list[Path]:
        """Write the clip (wav, flac or ogg), and beside it its sidecar (.json) and its plot (.png).

        `plot` or `sidecar`: True writes beside the clip, a path writes there. For the plot, controls are
        extracted from the clip by `extractors` (the bundled ones). All files appear, or none does; the
        sidecar last, so that where it stands the clip is finished.

        Returns:
            The paths of clip, sidecar and plot.

        Raises:
            ValueError: a name with a wrong ending, a folder that takes no files, or, without `overwrite`, a
                file that stands there already.
        """
        clip, json_path, png_path = output_paths(Path(path), plot, sidecar)
        finals = [item for item in (clip, json_path, png_path) if item is not None]
        if not overwrite:
            check_new(finals)
        partials = {item: partial_path(item, str(os.getpid())) for item in finals}
        try:
            for item in finals:
                item.parent.mkdir(parents=True, exist_ok=True)
            write_audio(partials[clip], self.audio, self.sample_rate)
            if json_path is not None:
                # The name of a file need not be UTF-8: so escaped, JSON gives it back.
                partials[json_path].write_text(
                    self.info.to_json(), encoding="utf-8", errors="backslashreplace"
                )
            if png_path is not None:
                self.draw(partials[png_path], extractors or Extractors())
            for item in sorted(finals, key=lambda item: item == json_path):
                os.replace(partials[item], item)
        finally:
            for partial in partials.values():
                partial.unlink(missing_ok=True)
        return finals

    def draw(self, path: Path, extractors: Extractors) -> Path:
        """Plot every control that was asked for against what is extracted from the clip, with its scores."""
        from features.events import extract_all, mix_separator
        from flowmusic.plots.figures import plot_controls

        audio = Audio(self.audio, self.sample_rate)
        parts = Extractors(mix_separator(extractors), extractors.melody, extractors.chords)
        extracted = extract_all(audio, parts)
        title = self.info.request.text or ""
        return plot_controls(self.controls, extracted, audio, path, title, scores=self.info.scores)
