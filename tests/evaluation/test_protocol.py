"""The whole evaluation with real extractors and a synthesiser that follows its controls."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from features.audio import Audio
from features.chords import LvChordia
from features.controls import CONTROL_NAMES, Controls
from features.events import ExtractedStore, extract_all
from features.extract import Extractors, extract_controls
from features.extracted import Extracted
from features.filters import band_pass
from features.melody import CrepeMelody
from flowmusic.api.request import Request
from flowmusic.evaluation.clip_store import ClipStore
from flowmusic.evaluation.protocol import (
    RESULTS_FILE,
    Evaluation,
    Judges,
    evaluate,
    floor_sources,
    plan_trials,
)
from flowmusic.evaluation.references import Clip
from flowmusic.evaluation.report import LABELS, SAME, SECOND, Summary, read_results

RATE = 32_000
DURATION_S = 3.0
SONGS = (  # root and third of the chord, melody, seconds between drum strokes
    ((0, 4), (72, 76, 79), 0.5),
    ((2, 3), (77, 74, 81), 0.37),
    ((8, 4), (84, 80, 75), 0.61),
    ((6, 3), (78, 73, 70), 0.43),
)


class BrightSeparator:
    """Takes the drums out by frequency: in these songs nothing else sounds above 6.5 kHz."""

    version = "bright"

    def separate(self, audio: Audio) -> Audio:
        stem = band_pass(torch.from_numpy(audio.mono()), 6500.0, 16_000.0, audio.sample_rate)
        return Audio(stem.numpy()[None], audio.sample_rate)


def synthesise(
    midi: np.ndarray, chord: np.ndarray, strokes_s: np.ndarray, duration_s: float, seed: int = 0
) -> Audio:
    """A sung-like line (midi (S,), 0 is silence), tones of 12 pitch classes (12, S), and noise bursts."""
    times_s = np.arange(round(duration_s * RATE)) / RATE
    f0_hz = 440.0 * 2 ** ((midi - 69) / 12)
    turns = 2 * np.pi * np.cumsum(f0_hz) / RATE
    line = np.where(midi > 0, np.sin(turns) + 0.5 * np.sin(2 * turns), 0.0)
    # Notes begin and end softly: a click between two would be a stroke.
    changes = np.convolve(np.diff(midi, prepend=midi[:1]) != 0, np.hanning(RATE // 10), "same")
    line = line * (1 - np.minimum(changes, 1.0))
    backing = sum(
        chord[i]
        * sum(np.sin(2 * np.pi * 32.703 * 2 ** (i / 12 + octave) * times_s) / octave for octave in (1, 2, 3))
        for i in range(12)
    )
    burst = np.random.default_rng(seed).standard_normal(RATE // 4) * np.exp(-np.arange(RATE // 4) / RATE * 60)
    hits = np.zeros(len(times_s) + len(burst))
    for stroke_s in strokes_s:
        hits[round(stroke_s * RATE) :][: len(burst)] += burst
    mix = 0.14 * line + 0.05 * backing + 0.25 * hits[: len(times_s)]
    mix *= np.minimum(1.0, (DURATION_S - times_s) / 0.05)  # no click at the end
    return Audio((0.7 * mix / np.abs(mix).max()).astype(np.float32)[None], RATE)


def song(number: int) -> Clip:
    (root, third), notes, every_s = SONGS[number]
    n_samples = round(DURATION_S * RATE)
    midi = np.repeat(notes, -(-n_samples // len(notes)))[:n_samples]
    chord = np.zeros((12, n_samples))
    chord[[root, (root + third) % 12, (root + 7) % 12]] = 1.0
    audio = synthesise(midi, chord, np.arange(0.2, DURATION_S - 0.1, every_s), DURATION_S)
    return Clip(f"song{number}", audio, 0.0, "a caption", None)


@dataclass
class Follower:
    """Plays what the controls say, and counts how often it is asked."""

    texts: list[str | None] = field(default_factory=list)
    version: str = "follower"

    def make(self, request: Request) -> Audio:
        assert isinstance(request.controls, Controls) and request.duration is not None
        controls, duration_s = request.controls, request.duration
        self.texts.append(request.text)
        frame = np.minimum((np.arange(round(duration_s * RATE)) * 50) // RATE, controls.n_frames - 1)
        midi, chord, strokes_s = np.zeros(len(frame)), np.zeros((12, len(frame))), np.array([])
        if controls.melody is not None:
            salience = controls.melody.numpy()
            midi = np.where(salience.max(1) > 0.3, 43 + salience.argmax(1), 0)[frame]
        if controls.chords is not None:
            chord = (controls.chords[:, 24:36].numpy().T > 0.5)[:, frame].astype(float)
        if controls.drums is not None:
            energy = controls.drums.numpy().mean(1)
            rise = np.maximum(energy[2:] - energy[:-2], 0)
            peaks = np.flatnonzero((rise[1:-1] >= rise[:-2]) & (rise[1:-1] > rise[2:]) & (rise[1:-1] > 0.12))
            strokes_s = (peaks + 2.5) / 50
        return synthesise(midi, chord, strokes_s, duration_s, request.seed + 1)

    def resynthesise(self, audio: Audio) -> Audio:
        return audio


@pytest.fixture(scope="module")
def extractors() -> Extractors:
    return Extractors(BrightSeparator(), CrepeMelody(), LvChordia(n_models=1))


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    return [song(number) for number in range(len(SONGS))]


def evaluation(maker: Follower, out: Path, judges: Judges, **sampling: object) -> Evaluation:
    return Evaluation(ClipStore(maker, out / "clips"), judges, sampling)


def by_metric(rows: list[Summary], judge: str = SAME) -> dict[str, Summary]:
    return {row.metric: row for row in rows if row.judge == judge}


def test_a_follower_follows_and_one_control_moves_only_its_metric(
    extractors: Extractors, clips: list[Clip], tmp_path: Path
) -> None:
    maker, store = Follower(), ExtractedStore(tmp_path / "extracted", extractors)
    # The second judge is the same here, and so must its figures be; the labels are what was extracted.
    judges = Judges(store, store.version, second=store)
    labelled = [replace(clip, labels=store.extract(clip.audio)) for clip in clips]
    tables = evaluate(evaluation(maker, tmp_path, judges), labelled, n_alone=2, n_three=1)
    followed = by_metric(tables["all"])
    for metric in ("chord_overlap", "drum_onset_f1", "melody_raw_chroma"):
        row = followed[metric]
        assert row.score.n == len(clips) and row.not_applicable == 0
        assert row.score.value is not None and row.gap_closed.value is not None and row.floor is not None
        assert row.score.low is not None and row.score.high is not None
        assert row.score.value > 0.75, metric
        assert row.gap_closed.value > 0.6, metric
        assert by_metric(tables["all"], SECOND)[metric].score == row.score
        exact = by_metric(tables["all"], LABELS)[metric]
        assert exact.score == row.score and exact.original == pytest.approx(1.0)
    drums_alone = by_metric(tables["alone:drums"])
    assert (drums_alone["drum_onset_f1"].score.value or 0) > 0.75
    assert (drums_alone["melody_raw_chroma"].score.value or 0) < 0.3
    assert (drums_alone["chord_overlap"].score.value or 0) < 0.3
    three = by_metric(tables["three"])
    for metric in ("chord_overlap", "drum_onset_f1", "melody_raw_chroma"):
        assert (three[metric].score.value or 0) > 0.75, metric
    assert maker.texts == ["a caption"] * 4 + [None] * 7

    # A second run has nothing to do; after a loss only the lost result is judged again, its clip is kept.
    again = Follower()
    assert evaluate(evaluation(again, tmp_path, judges), labelled, n_alone=2, n_three=1) == tables
    assert again.texts == []
    results = tmp_path / RESULTS_FILE
    lines = results.read_text().splitlines(keepends=True)
    results.write_text("".join(lines[1:]))
    assert evaluate(evaluation(again, tmp_path, judges), labelled, n_alone=2, n_three=1) == tables
    assert again.texts == [] and len(read_results(results)) == len(lines)
    (lost,) = (tmp_path / "clips" / "alone-drums").glob("song0-drums-*.wav")
    lost.unlink()
    results.unlink()
    assert evaluate(evaluation(again, tmp_path, judges), labelled, n_alone=2, n_three=1) == tables
    assert len(again.texts) == 1


@pytest.mark.parametrize("change", ["steps", "guidance", "maker", "judge", "reference"])
def test_nothing_is_reused_that_was_made_or_judged_in_another_way(
    change: str, extractors: Extractors, clips: list[Clip], tmp_path: Path
) -> None:
    store = ExtractedStore(tmp_path / "extracted", extractors)
    maker = Follower()
    evaluate(evaluation(maker, tmp_path, Judges(store, "1"), steps=10, guidance="2"), clips[:2], ("all",))
    assert len(maker.texts) == 2
    sampling = {"steps": 20 if change == "steps" else 10, "guidance": "3" if change == "guidance" else "2"}
    again = Follower(version="another" if change == "maker" else "follower")
    judges = Judges(store, "2" if change == "judge" else "1")
    asked = [clips[0], replace(clips[2], name="song1")] if change == "reference" else clips[:2]
    evaluate(evaluation(again, tmp_path, judges, **sampling), asked, ("all",))
    assert len(again.texts) == {"judge": 0, "reference": 1}.get(change, 2)
    # Judged again: all but what is the same in everything.
    assert len(read_results(tmp_path / RESULTS_FILE)) == 4


def test_extraction_agrees_with_what_was_played(
    extractors: Extractors, clips: list[Clip], tmp_path: Path
) -> None:
    extracted = extract_all(clips[0].audio, extractors)
    assert extracted.controls.given == CONTROL_NAMES
    assert extracted.controls.n_frames == len(extracted.f0_hz) == len(extracted.f0_times_s) == 150
    assert extracted.onsets_s == pytest.approx(np.arange(0.2, 2.9, 0.5), abs=0.05)
    voiced_hz = extracted.f0_hz[(extracted.f0_times_s > 0.3) & (extracted.f0_times_s < 0.6)]
    assert np.median(voiced_hz) == pytest.approx(523.25, rel=0.02)
    audio = clips[0].audio
    given = extract_controls(audio, audio, audio, extractors=extractors)
    for name in CONTROL_NAMES:  # what is evaluated is what `generate` would have extracted
        one, other = given.get(name), extracted.controls.get(name)
        assert one is not None and other is not None and torch.allclose(one, other, atol=1e-5), name
    store = ExtractedStore(tmp_path, extractors)
    assert_equal(store.extract(clips[0].audio), extracted)
    assert len(list(tmp_path.iterdir())) == 1
    changed = Extractors(None, extractors.melody, extractors.chords)  # type: ignore[arg-type]
    with pytest.raises(AttributeError):  # another extractor: what is kept is not its own
        ExtractedStore(tmp_path, changed).extract(clips[0].audio)


def assert_equal(first: Extracted, second: Extracted) -> None:
    assert first.chords == second.chords and first.duration_s == second.duration_s
    for name in ("onsets_s", "f0_times_s", "f0_hz", "confidence", "chroma"):
        assert np.array_equal(getattr(first, name), getattr(second, name)), name
    for name in CONTROL_NAMES:
        one, other = first.controls.get(name), second.controls.get(name)
        assert (one is None) == (other is None)
        assert one is None or other is None or bool((one == other).all())


def test_trials_use_every_reference_and_floors_never_their_own(clips: list[Clip]) -> None:
    trials = plan_trials(clips, ("all", "alone", "three"), 2, 4, seed=100)
    assert [trial.protocol for trial in trials].count("all") == 4
    assert len(trials) == 4 + 3 * 2 + 4
    assert len({(trial.protocol, trial.name) for trial in trials}) == len(trials)
    for trial in trials:
        used = {trial.anchor, *trial.sources.values()}
        floor = floor_sources(trial, len(clips))
        assert floor and not used & set(floor)
        if trial.protocol == "three":
            assert len(used) == 3 and trial.text == ""
    assert [trial.seed for trial in trials[:4]] == [100, 101, 102, 103]


@pytest.mark.parametrize("n", [2, 5, 32])
def test_floors_use_all_references_equally(n: int) -> None:
    clips = [Clip(str(i), Audio(np.zeros((1, 10), np.float32), RATE), 0.0, "", None) for i in range(n)]
    floors = [i for trial in plan_trials(clips, ("all",), 0, 0, 0) for i in floor_sources(trial, n)]
    assert len({floors.count(i) for i in range(n)}) == 1


def test_bad_plans_are_refused(clips: list[Clip]) -> None:
    with pytest.raises(ValueError, match="unknown protocol some"):
        plan_trials(clips, ("some",), 1, 1, 0)
    with pytest.raises(ValueError, match="at least 2 references"):
        plan_trials(clips[:1], ("all",), 1, 1, 0)
    with pytest.raises(ValueError, match="at least 4 references"):
        plan_trials(clips[:3], ("three",), 1, 1, 0)
