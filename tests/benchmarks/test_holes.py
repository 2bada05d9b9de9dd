"""Holes by makers whose answer is known: some give back what was there, some click or fall silent."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch

from benchmarks.common import Bench
from benchmarks.holes import (
    Filled,
    borders,
    fill_hole,
    hole_borders,
    hole_of,
    hole_results,
    kept_difference,
    level_differences,
    spectral_change,
)
from features.audio import Audio
from features.channels import PITCH_LOW_MIDI
from features.chord_labels import ChordSegment
from features.controls import CONTROL_CHANNELS, Controls
from features.events import ExtractedStore
from features.extracted import Extracted
from flowmusic.api.model import FlowMusic
from flowmusic.api.request import Request
from flowmusic.evaluation.clip_store import ClipStore, FlowMaker
from flowmusic.evaluation.references import Clip
from flowmusic.evaluation.report import summarise

RATE, FRAME_RATE = 8000, 25.0
NAMES = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")


def play(midi: np.ndarray, strokes: np.ndarray, rate: int) -> Audio:
    """One sine of a pitch for each frame of 20 ms, (T,), loud where `strokes` (T,) are, and soft noise."""
    noise = 0.02 * np.random.default_rng(0).standard_normal(len(midi) * (rate // 50))
    hz = np.repeat(440.0 * 2 ** ((midi - 69) / 12), rate // 50)
    level = np.repeat(np.where(strokes, 0.8, 0.25), rate // 50)
    samples = level * np.sin(2 * np.pi * np.cumsum(hz) / rate) + noise
    return Audio(samples.astype(np.float32)[None], rate)


def song(number: int, duration_s: float) -> Clip:
    """Notes of 0.2 to 0.6 s, and strokes of one frame between."""
    rng, n_frames = np.random.default_rng(100 + number), round(50 * duration_s)
    notes = [np.full(rng.integers(10, 30), rng.integers(72, 90)) for _ in range(n_frames // 10)]
    strokes = np.zeros(n_frames, dtype=bool)
    strokes[rng.choice(np.arange(5, n_frames - 5, 8), n_frames // 20, replace=False)] = True
    return Clip(f"song{number}", play(np.concatenate(notes)[:n_frames], strokes, RATE), 0.0, "text", None)


class ToneStore(ExtractedStore):
    """Extracts what `play` plays: the pitch as melody and as chord, loud frames as drums."""

    def __init__(self) -> None:
        pass

    def extract(self, audio: Audio) -> Extracted:
        frames = audio.mono().reshape(-1, audio.sample_rate // 50)  # (T, S)
        n_frames, size = frames.shape
        spectrum = np.abs(np.fft.rfft(frames * np.hanning(size), 8 * audio.sample_rate // 10))
        hz = spectrum.argmax(axis=1) * audio.sample_rate / (8 * audio.sample_rate // 10)
        midi = np.round(69 + 12 * np.log2(np.maximum(hz, 50.0) / 440)).astype(int)
        loud = np.sqrt((frames**2).mean(axis=1)) > 0.4
        melody = torch.zeros(n_frames, CONTROL_CHANNELS["melody"])
        melody[torch.arange(n_frames), torch.from_numpy(midi - PITCH_LOW_MIDI).clamp(0, 52)] = 1.0
        drums = torch.from_numpy(loud).float()[:, None].repeat(1, CONTROL_CHANNELS["drums"])
        turns = [0, *(np.flatnonzero(np.diff(midi)) + 1), n_frames]
        chords = [ChordSegment(a / 50, b / 50, f"{NAMES[midi[a] % 12]}:maj") for a, b in pairwise(turns)]
        return Extracted(
            duration_s=n_frames / 50,
            chords=tuple(chords),
            onsets_s=np.flatnonzero(loud) / 50,
            f0_times_s=(np.arange(n_frames) + 0.5) / 50,
            f0_hz=hz,
            confidence=np.ones(n_frames),
            chroma=midi % 12,
            controls=Controls(n_frames, drums=drums, melody=melody),
        )


@dataclass
class Filler:
    """Gives the context back, its hole `gain` times as loud; `slip` is added to one kept sample."""

    gain: float = 1.0
    slip: float = 0.0
    version: str = "filler"
    asked: list[tuple[tuple[float, float], ...] | None] = field(default_factory=list)

    def make(self, request: Request) -> Audio:
        self.asked.append(request.kept_spans)
        assert isinstance(request.context, Audio) and isinstance(request.controls, Controls)
        assert request.controls.n_frames == round(50 * request.context.duration_s) and request.kept_spans
        samples, ((_, start_s), (end_s, _)) = request.context.samples.copy(), request.kept_spans
        samples[:, round(start_s * RATE) : round(end_s * RATE)] *= self.gain
        samples[:, 100] += self.slip
        return Audio(samples, RATE)

    def resynthesise(self, audio: Audio) -> Audio:
        return Audio(0.5 * audio.samples, RATE)


def fill(maker: Filler, clips: list[Clip], out: Path) -> list[Filled]:
    model = cast(FlowMusic, SimpleNamespace(sample_rate=RATE))
    bench = Bench(model, ClipStore(maker, out / "clips"), ToneStore(), out, 6.0, 0, {}, "")
    return [fill_hole(bench, clip, seed) for seed, clip in enumerate(clips)]


def test_a_hole_filled_with_what_was_there(tmp_path: Path) -> None:
    clips, maker = [song(number, 6.0) for number in range(12)], Filler()
    items = fill(maker, clips, tmp_path)
    assert maker.asked == [((0.0, 2.0), (4.0, 6.0))] * 12
    assert max(kept_difference(item) for item in items) == 0.0
    for metric in ("chord_overlap", "drum_onset_f1", "melody_raw_chroma"):
        row = summarise(hole_results(items, ToneStore()), metric)
        assert row.score.n == 12 and row.score.value == 1.0 and row.floor is not None and row.floor < 0.7
    against, rest, original = hole_borders(items, FRAME_RATE)
    assert against.at_borders.n == rest.at_borders.n == 24
    assert against.auc.low is not None and against.auc.high is not None
    assert against.auc.low < 0.5 < against.auc.high
    assert (rest.at_borders, rest.auc) == (original.at_borders, original.auc)  # nothing was changed
    levels = level_differences(items)
    assert levels["hole"].value == pytest.approx(0.0, abs=1e-6)
    assert levels["resynthesis"].value == pytest.approx(-6.02, abs=0.1)
    again = Filler()
    fill(again, clips, tmp_path)
    assert again.asked == []


def test_a_quiet_hole_and_a_slip_are_found_out(tmp_path: Path) -> None:
    clips = [song(number, 6.0) for number in range(4)]
    quiet = fill(Filler(gain=0.03), clips, tmp_path / "quiet")
    assert level_differences(quiet)["hole"].value == pytest.approx(-30.5, abs=0.5)
    assert max(kept_difference(item) for item in quiet) == 0.0
    low = hole_borders(quiet, FRAME_RATE)[0].auc.low
    assert low is not None and low > 0.95
    results = hole_results(quiet, ToneStore())
    assert summarise(results, "drum_onset_f1").score.value == 0.0
    assert (summarise(results, "melody_raw_chroma").score.value or 0) > 0.9
    slip = fill(Filler(slip=1e-3), clips, tmp_path / "slip")
    assert max(kept_difference(item) for item in slip) == pytest.approx(1e-3, abs=1e-4)
    with pytest.raises(ValueError, match="at least 6 s, got 3"):
        hole_of(3.0)


def test_fades_inside_what_is_kept_are_no_difference() -> None:
    original = song(0, 6.0).audio
    for at_s, differs in ((1.7, True), (1.8, False), (3.0, False), (4.2, False), (4.3, True)):
        samples = original.samples.copy()
        samples[:, round(at_s * RATE)] += 0.1
        made = Audio(samples, RATE)
        assert (kept_difference(Filled("clip", original, made, original)) > 0) == differs, at_s


def test_a_model_keeps_what_it_is_given(tiny_model: Path, tmp_path: Path) -> None:
    model = FlowMusic.from_pretrained(tiny_model)
    store = ClipStore(FlowMaker(model), tmp_path / "clips")
    bench = Bench(model, store, ToneStore(), tmp_path, 6.0, 0, {"steps": 1}, "")
    item = fill_hole(bench, song(0, 6.0), 0)
    assert kept_difference(item) == 0.0
    assert item.made.samples.shape == item.original.samples.shape == (1, 6 * 32_000)
    assert not np.array_equal(item.made.samples[:, 64_000:128_000], item.original.samples[:, 64_000:128_000])


def chatter(duration_s: float, seed: int) -> np.ndarray:
    """Noise whose level and colour change every 0.1 to 0.6 s, (S,)."""
    rng = np.random.default_rng(seed)
    n_samples, parts = round(duration_s * RATE), [np.zeros(0)]
    while sum(part.size for part in parts) < n_samples:
        noise = rng.standard_normal(round(rng.uniform(0.1, 0.6) * RATE))
        parts.append(10 ** rng.uniform(-3, -2) * np.convolve(noise, rng.standard_normal(8), "same"))
    return np.concatenate(parts)[:n_samples].astype(np.float32)


def test_clicks_and_steps_are_found_and_their_absence_is_chance() -> None:
    plain = [Audio(chatter(6.0, seed)[None], RATE) for seed in range(20)]

    def auc(change: float, at_s: float, step: bool = False) -> tuple[float, float, float]:
        sounds = []
        for sound in plain:
            samples = sound.samples.copy()
            first = round(at_s * RATE)
            for start in (first, first + 2 * RATE):
                if step:
                    samples[:, start : start + RATE] *= change
                else:
                    samples[:, start : start + 8] += change
            sounds.append((Audio(samples, RATE), sound))
        found = borders("", sounds, FRAME_RATE).auc
        assert found.n == 40 and found.value is not None and found.low is not None and found.high is not None
        return found.low, found.value, found.high

    low, value, high = auc(0.0, 2.0)
    assert low < 0.5 < high and abs(value - 0.5) < 0.15
    assert auc(1.0, 2.0)[0] > 0.9
    assert auc(30.0, 2.0, step=True)[0] > 0.8
    assert abs(auc(1.0, 1.0)[1] - 0.5) < 0.15  # clicks elsewhere


def test_the_change_is_the_step_in_db_where_both_sides_are_sound() -> None:
    rate = 11_000 + 25  # 441 samples a frame: no quarter of that is whole
    noise = 0.02 * np.random.default_rng(0).standard_normal(2 * rate).astype(np.float32)
    noise[rate:] *= 10.0
    change = spectral_change(Audio(noise[None], rate), FRAME_RATE)
    assert change.shape == (51,)
    assert np.isnan(change[[0, 1, 2, 48, 49, 50]]).all() and np.isfinite(change[3:48]).all()
    assert change[25] == pytest.approx(20.0, abs=1.5)
    assert change[3:22].max() < 4.0 and change[29:48].max() < 4.0
    assert np.isnan(spectral_change(Audio(noise[None, :2000], rate), FRAME_RATE)).all()
    silent = spectral_change(Audio(np.zeros((1, rate), np.float32), rate), FRAME_RATE)
    assert (silent[3:-3] == 0).all()
