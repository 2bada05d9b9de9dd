"""Figures of pseudo-words on a maker whose answer is known; what the command refuses."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from features.audio import Audio, AudioError, write_audio
from features.cache import FeatureCache
from flowmusic.conditioning.inversion import Inversion
from flowmusic.evaluation.embeddings import EmbeddingStore
from flowmusic.evaluation.inversion_scores import WORD, Learnt, WayRow, WordRow, to_markdown, way_row
from flowmusic.evaluation.inversions import (
    PLAIN,
    WITH_STYLE,
    WITH_WORD,
    InvertedSong,
    evaluate_inversions,
    load_inverted,
    main,
)
from flowmusic.evaluation.musicnn import PATCH_HOP
from flowmusic.evaluation.references import find_references

RATE = 8000


def tone(f0_hz: float, duration_s: float = 2.0) -> Audio:
    times_s = np.arange(round(duration_s * RATE)) / RATE
    return Audio((0.3 * np.sin(2 * np.pi * f0_hz * times_s)).astype(np.float32)[None], RATE)


class BandStore(EmbeddingStore):
    """An embedding that is known: the level of 40 bands of 100 Hz."""

    def embed(self, audio: Audio, hop: int = PATCH_HOP) -> np.ndarray:
        levels = np.abs(np.fft.rfft(audio.mono()))[:-1]
        return np.asarray(levels.reshape(40, -1).sum(axis=1)[None] / audio.n_samples)


@dataclass
class Parrot:
    """A word plays what it was learnt from, a style half of it, plain words something else."""

    learnt: list[Audio] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def learn(self, audio: Audio, initial_words: str) -> tuple[Inversion, Learnt]:
        self.learnt.append(audio)
        loudest_hz = float(np.abs(np.fft.rfft(audio.samples[0])).argmax() * RATE / audio.n_samples)
        word = Inversion(WORD, torch.tensor([[loudest_hz]]), "m", "e", initial_words)
        return word, Learnt(1.0, 0.5, 7, 3.0)

    def make(
        self, text: str, word: Inversion | None, style: Audio | None, duration_s: float, seed: int
    ) -> Audio:
        self.asked.append(f"{text} {seed}")
        other = tone(3950, duration_s)
        if word is not None:
            return tone(float(word.embeddings[0, 0]), duration_s)
        return other if style is None else Audio(other.samples + style.fitted(duration_s).samples, RATE)

    def resynthesise(self, audio: Audio) -> Audio:
        return audio


def evaluate(maker: Parrot, out: Path) -> tuple[list[WayRow], list[WordRow]]:
    songs = [InvertedSong(f"s{k}", tone(hz, 8.0), tone(hz), tone(hz)) for k, hz in enumerate((450, 1050))]
    store = BandStore(FeatureCache(out / "embedded"))
    return evaluate_inversions(maker, songs, store, out, "heading", {"settings": {}}, frame="like {}, loud")


def test_a_word_that_works_reaches_the_ceiling(tmp_path: Path) -> None:
    maker = Parrot()
    ways, words = evaluate(maker, tmp_path)
    rows = {row.name: row for row in ways}
    assert list(rows) == [PLAIN, WITH_WORD, WITH_STYLE] and all(row.n == 4 for row in ways)
    assert rows[PLAIN].similarity == pytest.approx(rows[PLAIN].floor, abs=0.05)
    assert rows[WITH_WORD].share_closed == pytest.approx(1.0, abs=0.05)
    assert rows[WITH_STYLE].share_closed == pytest.approx(np.sqrt(0.5), abs=0.05)
    assert maker.asked[:5] == [*(f"like music, loud {k}" for k in (0, 2, 1, 3)), "like <song>, loud 0"]
    assert [row.learnt for row in words] == [Learnt(1.0, 0.5, 7, 3.0)] * 2
    assert words[0].similarity[WITH_WORD] > 0.95 > words[0].similarity[WITH_STYLE]
    text = (tmp_path / "inversions.md").read_text()
    assert text == to_markdown(ways, words, "heading") + "\n" and "| 1.0000      | 0.5000" in text
    assert len(json.loads((tmp_path / "inversions.json").read_text())["words"]) == 2


def test_a_second_run_learns_and_makes_what_is_missing(tmp_path: Path) -> None:
    first = evaluate(Parrot(), tmp_path)
    (tmp_path / "words" / "s1.json").unlink()
    (tmp_path / "clips" / "plain-words" / "s0-1.wav").unlink()
    again = Parrot()
    assert evaluate(again, tmp_path) == first
    assert len(again.learnt) == 1 and again.asked == ["like music, loud 2"]


def test_shapes_that_do_not_fit_are_refused() -> None:
    two = np.eye(2)
    assert way_row("way", two[None], two, two).share_closed == 1.0
    for results, compared in ((two[None, :1], two), (two[None, :1], two[:1])):
        with pytest.raises(ValueError, match="at least 2 references and as many clips"):
            way_row("way", results, compared, compared)


def test_what_is_learnt_from_ends_where_the_last_excerpt_begins(tmp_path: Path) -> None:
    ramp = np.linspace(0, 0.9, 40 * RATE, dtype=np.float32)
    (reference,) = find_references([write_audio(tmp_path / "song.flac", ramp, RATE)])
    song = load_inverted(reference, 4.0, 10.0)
    assert song.learnt.duration_s == pytest.approx(28.0, abs=0.001)
    assert song.learnt.samples[0, -1] < song.held_out.samples[0, 0] + 1e-4
    assert song.middle.duration_s == 10.0 and song.middle.samples[0, 0] == pytest.approx(
        0.9 * 9 / 40, abs=1e-3
    )
    with pytest.raises(AudioError, match="expected at least about"):
        load_inverted(reference, 4.0, 30.0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--frame", "music"], "--frame must hold '{}' once"),
        (["--steps", "0"], "expected steps from 1 to"),
        (["--n", "1"], "expected references from 2 to"),
        ([], "does not exist; expected a sound file"),
    ],
)
def test_bad_arguments_are_refused(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["--references", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out"), *words])
    assert said in capsys.readouterr().err


def test_a_model_without_style_is_refused_before_any_work(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for hz in (220, 440):
        write_audio(tmp_path / "songs" / f"{hz}.wav", tone(hz, 30.0).samples, RATE)
    words = ["--references", str(tmp_path / "songs"), "--checkpoint", str(tiny_model)]
    with pytest.raises(SystemExit):
        main([*words, "--out", str(tmp_path / "out"), "--duration", "2"])
    assert "was trained without style" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
