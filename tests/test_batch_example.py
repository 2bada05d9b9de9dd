"""The worked example of docs/batch.md, with the shipped model."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from features.audio import read_audio
from flowmusic.cli import main

ROOT = Path(__file__).parent.parent


def test_the_example_does_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "batch.md").read_text(encoding="utf-8")
    manifest = re.search(r"```json\n(.*?)```", page, re.DOTALL)
    assert manifest is not None
    (tmp_path / "manifest.jsonl").write_text(manifest[1])
    shutil.copy(ROOT / "examples" / "drums.ogg", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert "flowmusic batch manifest.jsonl --out clips\n" in page
    assert main(["batch", "manifest.jsonl", "--out", "clips", "--workers", "0"]) == 3
    gone = tmp_path / "gone.ogg"
    assert f"2 clips, 1 failed (line 3: {gone} does not exist" in capsys.readouterr().out
    (sidecar,) = Path("clips/clips").glob("ballad-*.json")
    assert main(["generate", "--from", str(sidecar), "-o", "again.wav"]) == 0
    assert Path("again.wav").read_bytes() == sidecar.with_suffix(".wav").read_bytes()
    assert read_audio("again.wav").duration_s == 4.0
