"""The folder of a batch: which clips are finished, which failed, and the settings they share.

clips/NAME.wav .json (.png)   a clip; it is finished where its .json stands, which is written last
failed/NAME.json              why a row has no clip
batch.json                    model, extractors and settings of the whole batch
table.csv, index.html         all rows, written at the end
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from features.files import PARTIAL_PREFIX, whole_file
from features.text_files import read_json
from flowmusic.api.clip import Clip, ClipInfo

SETTINGS_FILE, TABLE_FILE, PAGE_FILE = "batch.json", "table.csv", "index.html"
OUTPUTS = ("clips", "failed", TABLE_FILE)
"""What a batch writes that could be taken for references."""

SUFFIXES = (".wav", ".flac", ".ogg")

# Names that Clip.save (the row's, the process) and whole_file (any, eight letters or digits) write under.
# The user may keep other files in these folders, and a clip may be called partial-...
_HALF_WRITTEN = {
    "clips": re.compile(
        rf"{PARTIAL_PREFIX}.+-[0-9a-f]{{10}}-(\d+|\d+-[a-z0-9_]{{8}})\.(wav|flac|ogg|json|png)"
    ),
    "failed": re.compile(rf"{PARTIAL_PREFIX}.+-[0-9a-f]{{10}}-[a-z0-9_]{{8}}\.json"),
    "": re.compile(
        rf"{PARTIAL_PREFIX}(batch|manifest|table|index(-\d+)?)-[a-z0-9_]{{8}}\.(json|jsonl|csv|html)"
    ),
}


@dataclass(frozen=True)
class BatchSettings:
    """What all clips of a batch share; kept in its folder, so that a later run cannot mix two kinds."""

    model: str
    extractors: dict[str, str]
    suffix: str = ".wav"
    loudness: float | None = -16.0
    scores: bool = True
    plots: bool = False
    candidates: int = 1
    weights: dict[str, float] | None = None
    dtype: str = "float32"
    threads: int = 1

    def __post_init__(self) -> None:
        if self.suffix not in SUFFIXES:
            raise ValueError(f"clips can be {', '.join(SUFFIXES)}, got {self.suffix!r}")
        if self.candidates > 1 and not self.scores:
            raise ValueError("the best of several candidates needs scores to choose by")


class OutOfSpaceError(OSError):
    """A clip could not be written; nothing half-written is left."""


class ClipStore:
    """Reads and writes the files of a batch under one folder."""

    def __init__(self, folder: Path, settings: BatchSettings) -> None:
        self.folder, self.settings = folder, settings

    def audio_path(self, name: str) -> Path:
        return self.folder / "clips" / f"{name}{self.settings.suffix}"

    def sidecar_path(self, name: str) -> Path:
        return self.folder / "clips" / f"{name}.json"

    def plot_path(self, name: str) -> Path:
        return self.folder / "clips" / f"{name}.png"

    def failure_path(self, name: str) -> Path:
        return self.folder / "failed" / f"{name}.json"

    def is_finished(self, name: str) -> bool:
        return self.sidecar_path(name).is_file() and self.audio_path(name).is_file()

    def check_settings(self) -> bool:
        """Whether this batch was begun here; ValueError where the folder holds one of other settings."""
        wanted = json.loads(json.dumps(asdict(self.settings)))
        path = self.folder / SETTINGS_FILE
        if path.is_file():
            kept = _read_json(path)
            differing = sorted(key for key in {*wanted, *kept} if wanted.get(key) != kept.get(key))
            if differing:
                raise ValueError(
                    f"{self.folder} holds a batch with other settings ({', '.join(differing)} differ); "
                    "give another folder, or remove this one"
                )
        return path.is_file()

    def open(self) -> None:
        """Make the folder, or go on in it; remove what a killed run left half-written."""
        if not self.check_settings():
            self._write_json(self.folder / SETTINGS_FILE, asdict(self.settings))
        for place, name in _HALF_WRITTEN.items():
            for leftover in (self.folder / place).glob(f"{PARTIAL_PREFIX}*"):
                if name.fullmatch(leftover.name):
                    leftover.unlink(missing_ok=True)

    def save(self, name: str, clip: Clip, plot_with: Any = None) -> None:
        """Write a clip, its sidecar and its plot.

        Raises:
            OutOfSpaceError: the system takes no file there; one sentence.
        """
        path = self.audio_path(name)
        try:
            clip.save(path, plot=self.settings.plots, extractors=plot_with)
        except Exception as error:
            if not isinstance(error, OSError) and not isinstance(error.__cause__, OSError):
                raise  # the clip's own fault, or its plot's
            raise OutOfSpaceError(_why(path, error)) from error
        self.failure_path(name).unlink(missing_ok=True)

    def fail(self, name: str, reason: str) -> None:
        """Note why a row has no clip. OutOfSpaceError where that cannot be written."""
        try:
            self._write_json(self.failure_path(name), {"error": reason})
        except OSError as problem:
            raise OutOfSpaceError(_why(self.failure_path(name), problem)) from problem

    def read_sidecar(self, name: str) -> ClipInfo:
        return ClipInfo.load(self.sidecar_path(name))

    def read_failure(self, name: str) -> str | None:
        path = self.failure_path(name)
        return str(_read_json(path).get("error", "")) if path.is_file() else None

    def _write_json(self, path: Path, values: dict[str, Any]) -> None:
        with whole_file(path) as partial:
            partial.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def _read_json(path: Path) -> dict[str, Any]:
    values = read_json(path, "what a batch writes")
    if not isinstance(values, dict):
        raise ValueError(f"{path} is not what a batch writes; expected an object, got {values!r}")
    return values


def _why(path: Path, error: Exception) -> str:
    """One sentence; with the space that is left, where it is little."""
    free_mib = shutil.disk_usage(path.parent if path.parent.exists() else Path.cwd()).free / 2**20
    reason = (error.strerror if isinstance(error, OSError) else None) or " ".join(str(error).split())
    space = f"; the disk is full ({free_mib:.0f} MiB are left)" if free_mib < 64 else ""
    return f"cannot write {path}: {reason}{space}. Finished clips are kept: run again to go on"
