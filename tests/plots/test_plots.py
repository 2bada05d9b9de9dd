"""Plots are written whole, in the right size, and show what they should."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from features.audio import Audio
from features.chord_labels import ChordSegment, segments_to_channels
from features.controls import Controls
from features.extracted import Extracted
from features.frames import FrameGrid
from flowmusic.plots.chord_names import chord_name, chord_spans
from flowmusic.plots.figures import plot_controls, plot_features, plot_spectrograms
from flowmusic.plots.panels import DOTS_PER_INCH, WIDTH_IN

RATE = 32_000
GRID = FrameGrid.from_duration(3.0)
CHORDS = (ChordSegment(0.0, 1.5, "C:maj"), ChordSegment(1.5, 3.0, "A:min7/b3"))


def controls() -> Controls:
    generator = torch.Generator().manual_seed(0)
    melody = torch.zeros(GRID.n_frames, 53)
    melody[:75, 20], melody[75:, 24] = 0.9, 0.9
    return Controls(
        GRID.n_frames,
        drums=torch.rand(GRID.n_frames, 4, generator=generator),
        melody=melody,
        chords=segments_to_channels(CHORDS, GRID),
    )


def extracted() -> Extracted:
    f0_hz = np.full(GRID.n_frames, 261.63)
    onsets_s = np.array([0.1, 1.0, 2.0])
    confidence = np.full(GRID.n_frames, 0.9)
    return Extracted(3.0, CHORDS, onsets_s, GRID.times_s(), f0_hz, confidence, np.zeros(24, int), controls())


def sound(sample_rate: int = RATE) -> Audio:
    noise = 0.1 * np.random.default_rng(0).standard_normal((1, 3 * sample_rate))
    return Audio(noise.astype(np.float32), sample_rate)


def png_size(path: Path) -> tuple[int, int]:
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) > 10_000
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def test_controls_against_what_was_extracted(tmp_path: Path) -> None:
    path = plot_controls(
        controls(),
        extracted(),
        sound(),
        tmp_path / "a.png",
        "A title",
        extracted(),
        {"drums": 0.5, "melody": None},
    )
    bare = plot_controls(controls(), extracted(), sound(), tmp_path / "b.png", "A title", extracted())
    assert path.read_bytes() != bare.read_bytes(), "the score is written"
    bare.unlink()
    width, height = png_size(path)
    assert width == round(WIDTH_IN * DOTS_PER_INCH) and 900 < height < 1300
    assert [item.name for item in tmp_path.iterdir()] == ["a.png"]  # no half-written file beside it


def test_one_control_makes_a_smaller_plot_than_three(tmp_path: Path) -> None:
    one = plot_controls(controls().only("drums"), extracted(), sound(), tmp_path / "one.png")
    three = plot_controls(controls(), extracted(), sound(), tmp_path / "three.png")
    none = plot_controls(Controls(GRID.n_frames), extracted(), sound(), tmp_path / "none.png")
    assert png_size(none)[1] < png_size(one)[1] < png_size(three)[1]


def test_absent_frames_are_shaded(tmp_path: Path) -> None:
    whole = plot_features(controls(), tmp_path / "whole.png")
    mask = torch.ones(GRID.n_frames, dtype=torch.bool)
    mask[:40] = mask[100:] = False
    part = plot_features(controls().having(drums_mask=mask), tmp_path / "part.png")
    assert png_size(whole) == png_size(part)
    assert whole.read_bytes() != part.read_bytes()


def test_features_and_spectrograms(tmp_path: Path) -> None:
    bare = plot_features(controls(), tmp_path / "bare.png", "Features")
    with_sound = plot_features(controls(), tmp_path / "sound.png", audio=sound(44_100))
    assert png_size(with_sound)[1] > png_size(bare)[1] - 100
    png_size(plot_spectrograms(sound(), sound(44_100), tmp_path / "deep" / "spectra.png", "Codec"))


def test_silence_can_be_drawn(tmp_path: Path) -> None:
    silent = Audio(np.zeros((1, 3 * RATE), np.float32), RATE)
    empty = replace(
        extracted(), chords=(), onsets_s=np.zeros(0), f0_hz=np.zeros(150), confidence=np.zeros(150)
    )
    nothing = controls().having(melody=torch.zeros(150, 53), chords=torch.zeros(150, 37))
    png_size(plot_controls(nothing, empty, silent, tmp_path / "silent.png"))


def test_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.jpg: expected a name that ends in \.png"):
        plot_features(controls(), tmp_path / "a.jpg")
    with pytest.raises(ValueError, match="nothing to plot"):
        plot_features(Controls(10), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("label", "name"),
    [("C:maj", "C"), ("A:min7/b3", "Am7/C"), ("Bb:7", "B♭7"), ("F#:min", "F♯m"), ("N", "N.C."), ("X", "?")],
)
def test_chord_names(label: str, name: str) -> None:
    assert chord_name(label) == name


def test_chords_are_read_back_from_their_channels() -> None:
    assert chord_spans(controls()) == [(0.0, 1.5, "C"), (1.5, 3.0, "Am")]
    assert chord_spans(Controls(10)) == []
