"""The gallery: its set of clips, its page, and going on where it stopped."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from features.chord_chart import parse_chord_chart
from features.chords import LvChordia
from features.extract import Extractors
from flowmusic.api.model import FlowMusic
from flowmusic.gallery import EXAMPLES, ITEMS, Item, is_done, make_gallery


def test_the_set_is_24_clips_that_can_be_made() -> None:
    assert len(ITEMS) == 24 == len({item.name for item in ITEMS})
    for item in ITEMS:
        assert item.text or item.drums or item.melody or item.chords
        for name in (item.drums, item.melody):
            assert not name or (EXAMPLES / name).is_file()
        if item.chords and "." not in item.chords:
            assert item.bpm is not None and parse_chord_chart(
                item.chords, bpm=item.bpm, duration_s=item.duration_s
            )


def test_clips_plots_settings_and_page(tiny_model: Path, tmp_path: Path) -> None:
    # One chord model of five, because the plots are not what is tested here.
    model = FlowMusic.from_pretrained(tiny_model, extractors=Extractors(chords=LvChordia(n_models=1)))
    items = (
        Item("one", "a bold & calm tune", duration_s=1.0, seed=3),
        Item("two", chords="Am | F", bpm=120, duration_s=1.0),
    )
    page = make_gallery(model, tmp_path, items=items)
    text = page.read_text(encoding="utf-8")
    assert text.count("<audio") == text.count("<img") == 2
    assert "bold &amp; calm" in text and "bold & calm" not in text and "chords: Am | F" in text
    assert json.loads((tmp_path / "one.json").read_text())["seed"] == 3
    assert {path.suffix for path in tmp_path.glob("two.*")} == {".wav", ".png", ".json"}

    kept = (tmp_path / "one.wav").stat().st_mtime_ns
    make_gallery(model, tmp_path, items=items)
    assert (tmp_path / "one.wav").stat().st_mtime_ns == kept
    (tmp_path / "two.png").unlink()
    assert not is_done(model, items[1], tmp_path)
    # Another seed is another clip.
    assert is_done(model, items[0], tmp_path) and not is_done(model, replace(items[0], seed=4), tmp_path)


def test_missing_examples_are_named(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no drums\.ogg; expected the folder"):
        make_gallery(
            FlowMusic.from_pretrained(tiny_model), tmp_path / "out", tmp_path, (Item("x", drums="drums.ogg"),)
        )
    assert not (tmp_path / "out").exists()
