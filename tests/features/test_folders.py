"""Folders hold files that nobody put there."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from features.folders import is_sound, visible_files, warn_of_unread


def test_hidden_files_are_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / ".cache" / "music"  # what lies above the folder does not matter
    for name in ("b.wav", "a/c.OGG", "._b.wav", ".DS_Store", "a/._c.ogg", "__MACOSX/._b.wav", ".trash/d.wav"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    (folder / "folder.wav").mkdir()
    found = visible_files(folder)
    assert [path.relative_to(folder).as_posix() for path in found] == ["a/c.OGG", "b.wav"]
    assert all(map(is_sound, found)) and not is_sound(folder / "Thumbs.db")


def test_sounds_that_cannot_be_read_are_counted_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        warn_of_unread(tmp_path, [tmp_path / name for name in ("b.wma", "a.m4a", "c.wav", "d.txt")])
        warn_of_unread(tmp_path, [tmp_path / "c.wav"])
    (record,) = caplog.records
    assert "mp3 is passed over: a.m4a and 1 more" in record.getMessage()
