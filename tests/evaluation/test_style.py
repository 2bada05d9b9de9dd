"""Style figures on makers whose answer is known: one that copies, one in the style, one that ignores it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from features.audio import Audio, AudioError, write_audio
from features.cache import FeatureCache
from features.controls import Controls
from flowmusic.evaluation.embeddings import EmbeddingStore
from flowmusic.evaluation.references import find_references
from flowmusic.evaluation.style import StyleSong, evaluate_style, load_song
from flowmusic.evaluation.style_scores import Outcome, SongStyles, summarise, to_markdown

RNG = np.random.default_rng(0)
RATE = 16_000
N, DIM = 40, 60


@pytest.fixture(scope="module")
def styles() -> SongStyles:
    songs = 3 * RNG.standard_normal((N, DIM))
    given, other, resynthesis = (songs + RNG.standard_normal((N, DIM)) for _ in range(3))
    return SongStyles(given, other, resynthesis)


def test_a_copy_is_too_near_and_a_stranger_is_on_the_floor(styles: SongStyles) -> None:
    copy = summarise(Outcome("style", 6, styles.given + 0.01), styles)
    assert copy.similarity > 0.99 > copy.ceiling and copy.knn_overfit == 1.0 and copy.knn_same_song == 0.0
    assert copy.share_closed is not None and copy.share_closed > 1.05
    stranger = summarise(Outcome("style", 1, 3 * RNG.standard_normal((N, DIM))), styles)
    assert stranger.similarity == pytest.approx(stranger.floor, abs=0.1)
    assert abs(stranger.share_closed or 0.0) < 0.1 and stranger.knn_overfit < 0.1
    assert stranger.knn_common < 0.4 < copy.knn_common


def test_another_excerpt_reaches_the_ceiling_without_copying(styles: SongStyles) -> None:
    row = summarise(Outcome("style", 6, styles.resynthesis), styles)
    assert row.share_closed == pytest.approx(1.0) and row.similarity == pytest.approx(row.ceiling)
    assert row.original == pytest.approx(row.ceiling, abs=0.02)
    assert 0.3 < row.knn_overfit < 0.7 and row.knn_overfit + row.knn_same_song == 1.0
    assert row.knn_common == 0.0 or row.knn_common > 0.4


def test_means_leave_out_what_does_not_apply_and_tables_hold_them(styles: SongStyles) -> None:
    adherence = ({"chord_overlap": 0.5, "drum_onset_f1": None}, {"chord_overlap": 1.0, "drum_onset_f1": None})
    copied = ({"melody_raw_chroma": 0.25, "chord_overlap": None},)
    outcome = Outcome("style and controls", 3, styles.other, adherence, copied, copied)
    row = summarise(outcome, styles)
    assert row.adherence["chord_overlap"] == 0.75 and row.adherence["drum_onset_f1"] is None
    assert row.copied["melody_raw_chroma"] == row.copied_floor["melody_raw_chroma"] == 0.25
    text = to_markdown([row, summarise(Outcome("style", 1, styles.other), styles)], "heading")
    assert "Adherence to controls of another song" in text and "KNN overfit" in text
    assert text.count("| style and controls | 3") == 3 and text.count("| style ") == 4
    with pytest.raises(ValueError, match="at least 4 songs and a result of each, got 40 and 3"):
        summarise(Outcome("style", 1, styles.other[:3]), styles)


def timbre(kind: int, duration_s: float, seed: int) -> Audio:
    """Four sounds that no one would mix up: noise, clicks, a flute-like tone, a bright chord."""
    rng, times_s = np.random.default_rng(seed), np.arange(round(duration_s * RATE)) / RATE
    if kind == 0:
        samples = rng.standard_normal(len(times_s))
    elif kind == 1:
        samples = rng.standard_normal(len(times_s)) * np.exp(-(times_s % 0.25) * 60)
    elif kind == 2:
        samples = np.sin(2 * np.pi * 523 * times_s + rng.random())
    else:
        chord = [np.sign(np.sin(2 * np.pi * hz * times_s + rng.random())) for hz in (110, 139, 165)]
        samples = np.sum(chord, axis=0)
    return Audio((0.2 * samples / np.abs(samples).max()).astype(np.float32)[None], RATE)


@dataclass
class Imitator:
    """Plays in the style that it is given, or repeats it; remembers what it was asked."""

    copies: bool
    asked: list[int | None] = field(default_factory=list)

    def make(
        self,
        style: Audio | None,
        codebooks: int | None,
        controls: Controls | None,
        duration_s: float,
        seed: int,
    ) -> Audio:
        assert style is not None and controls is None
        self.asked.append(codebooks)
        samples = style.samples if self.copies else style.samples[:, ::-1]
        return Audio(np.resize(samples, (1, round(duration_s * RATE))), RATE)

    def resynthesise(self, audio: Audio) -> Audio:
        return audio


def test_clips_are_made_measured_and_kept(tmp_path: Path) -> None:
    songs = [StyleSong(f"s{k}", timbre(k, 3.0, 1), timbre(k, 3.0, 2)) for k in range(4)]
    store, maker = EmbeddingStore(FeatureCache(tmp_path / "embedded")), Imitator(copies=True)
    rows = evaluate_style(maker, songs, [1, 6], store, None, tmp_path, "heading")
    assert [(row.name, row.codebooks) for row in rows] == [("style", 1), ("style", 6)]
    assert maker.asked == [1] * 4 + [6] * 4
    assert all(row.knn_overfit == 1.0 and row.similarity > 0.99 for row in rows)
    assert rows[0].floor < 0.6 < rows[0].ceiling
    assert (tmp_path / "style.md").read_text().startswith("heading")
    again = Imitator(copies=True)
    assert evaluate_style(again, songs, [1, 6], store, None, tmp_path, "heading") == rows
    assert again.asked == []


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
