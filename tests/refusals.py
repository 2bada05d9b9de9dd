"""Sounds that cannot be used, and a command that must be refused."""

from __future__ import annotations

import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flowmusic.cli import main

RATE = 16_000
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
WEB_PAGE = b"\n<!DOCTYPE html>\n<html><body>404</body></html>"


def wav(path: Path, samples: np.ndarray, rate: int = RATE, subtype: str | None = None) -> Path:
    import soundfile

    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def tone(seconds: float, channels: int = 1) -> np.ndarray:
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * RATE)) / RATE)
    return np.repeat(tone[:, None], channels, axis=1).astype(np.float32)


def _one_hour(path: Path) -> Path:
    """A file of zeros that takes no time to write: the header says what matters."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(8000)
        file.writeframes(b"\x80" * (3600 * 8000))
    return path


def _truncated(path: Path) -> Path:
    wav(path, tone(2.0))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


BAD_SOUNDS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "empty": (lambda path: written(path, b""), "is empty (0 bytes)"),
    "silent": (lambda path: wav(path, np.zeros(RATE)), "is silent (all samples are 0)"),
    "nan": (lambda path: wav(path, np.full(RATE, np.nan), subtype="FLOAT"), "NaN"),
    "too-loud": (lambda path: wav(path, 1e30 * tone(1.0), subtype="FLOAT"), "has samples of up to 3e+29"),
    "one-sample": (lambda path: wav(path, np.array([0.5])), "1 samples"),
    "no-samples": (lambda path: wav(path, np.zeros(0)), "no samples"),
    "one-hour": (_one_hour, "lasts 3600 s; expected at most 600 s"),
    "8-channel": (lambda path: wav(path, tone(1.0, 8)), "has 8 channels; expected mono or stereo"),
    "corrupt": (lambda path: written(path, np.random.default_rng(0).bytes(4000)), "cannot be read as sound"),
    "truncated": (_truncated, "is cut short"),
    "lfs": (
        lambda path: written(path, LFS_POINTER),
        "is a Git LFS pointer, not the file itself: run `git lfs pull`",
    ),
    "web-page": (lambda path: written(path, WEB_PAGE), "is a web page (HTML)"),
    "text": (lambda path: written(path, b"Dear diary,\n" * 50), "cannot be read as sound"),
    "folder": (_folder, "is a folder"),
    "missing": (lambda path: path, "does not exist"),
}


class Refused:
    """Runs a command that must be refused with exit code 2 and one sentence."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys = folder, capsys
        self.out = folder / "out" / "clip.wav"

    def __call__(self, *arguments: str) -> str:
        before = sorted(self.folder.rglob("*"))
        code = main(arguments)
        captured = self.capsys.readouterr()
        assert code == 2, captured.err
        assert captured.out == ""
        lines = captured.err.splitlines()
        assert len(lines) == 1 and lines[0].startswith("flowmusic: error: "), captured.err
        assert sorted(self.folder.rglob("*")) == before, "something was left behind"
        return lines[0]
