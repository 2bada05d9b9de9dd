"""Style figures of clips whose answer is known: one that copies, one in the style, one that ignores it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.style import SongStyles, likeness, load_song
from features.audio import AudioError, write_audio
from flowmusic.evaluation.references import find_references

RNG = np.random.default_rng(0)
N, DIM = 40, 60


@pytest.fixture(scope="module")
def styles() -> SongStyles:
    songs = 3 * RNG.standard_normal((N, DIM))
    given, other, resynthesis = (songs + RNG.standard_normal((N, DIM)) for _ in range(3))
    return SongStyles(given, other, resynthesis)


def test_a_copy_is_too_near_and_a_stranger_is_on_the_floor(styles: SongStyles) -> None:
    copy = likeness(styles.given + 0.01, styles)
    assert copy.similarity.value is not None and copy.similarity.value > 0.99 > copy.ceiling
    assert copy.overfit.value == 1.0 and copy.same_song.value == 0.0
    assert copy.gap_closed.low is not None and copy.gap_closed.low > 1.05 and copy.common > 0.95
    stranger = likeness(3 * RNG.standard_normal((N, DIM)), styles)
    assert stranger.similarity.value == pytest.approx(stranger.floor, abs=0.1)
    assert abs(stranger.gap_closed.value or 0.0) < 0.1 and (stranger.overfit.value or 0.0) < 0.1
    assert stranger.common < 0.4


def test_another_excerpt_reaches_the_ceiling_without_copying(styles: SongStyles) -> None:
    row = likeness(styles.resynthesis, styles)
    assert row.gap_closed.value == pytest.approx(1.0) and row.similarity.value == pytest.approx(row.ceiling)
    assert row.overfit.value is not None and row.same_song.value is not None
    assert 0.3 < row.overfit.value < 0.7 and row.overfit.value + row.same_song.value == pytest.approx(1.0)
    with pytest.raises(ValueError, match="at least 4 songs and a result of each, got 40 and 3"):
        likeness(styles.other[:3], styles)


def test_songs_give_two_excerpts_that_do_not_overlap(tmp_path: Path) -> None:
    ramp = np.linspace(0, 0.9, 40 * 8000, dtype=np.float32)
    write_audio(tmp_path / "song.flac", ramp, 8000)
    (reference,) = find_references([tmp_path])
    song = load_song(reference, 4.0, 10.0)
    assert song.given.duration_s == 4.0 and song.other.duration_s == 10.0
    assert song.given.samples[0, 0] == pytest.approx(0.9 * 8 / 40, abs=0.001)
    assert song.other.samples[0, -1] == pytest.approx(0.9 * 38 / 40, abs=0.001)
    with pytest.raises(AudioError, match=r"song\.flac lasts 40\.0 s; expected at least about 70 s"):
        load_song(reference, 5.0, 30.0)
