"""Long clips and holes by makers whose answer is known: some follow, some are late, click or fall silent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from features.audio import Audio, read_audio, write_audio
from features.chord_labels import ChordSegment
from features.controls import CONTROL_CHANNELS, PITCH_LOW_MIDI, Controls
from flowmusic.api.editing import Spans
from flowmusic.api.model import FlowMusic
from flowmusic.evaluation import holes, lengths
from flowmusic.evaluation.adherence import Extracted
from flowmusic.evaluation.hole_scores import Filled, kept_difference
from flowmusic.evaluation.hole_scores import Report as HoleReport
from flowmusic.evaluation.holes import FlowHoleMaker, evaluate_holes
from flowmusic.evaluation.lengths import evaluate_lengths
from flowmusic.evaluation.listening import ExtractedStore
from flowmusic.evaluation.long_clips import Report, join_controls, plan_long
from flowmusic.evaluation.protocol import Settings
from flowmusic.evaluation.references import Clip
from flowmusic.evaluation.seams import window_borders

RATE, FRAME_RATE = 8000, 25.0
NAMES = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")


def test_joined_controls_keep_their_frames() -> None:
    def random(n_frames: int, *names: str) -> Controls:
        values = {name: torch.rand(n_frames, CONTROL_CHANNELS[name]) for name in names}
        return Controls(n_frames, **values)  # type: ignore[arg-type]

    parts = [random(50, "drums", "melody"), random(30, "melody"), random(70, "drums", "melody")]
    joined = join_controls(parts)
    assert joined.n_frames == 150 and joined.given == ("drums", "melody") and joined.chords is None
    for start, part in zip((0, 50, 80), parts, strict=True):
        back = joined.crop(start, part.n_frames)
        assert back.melody is not None and part.melody is not None
        assert torch.equal(back.melody, part.melody) and bool(back.mask("melody").all())
        assert bool(back.mask("drums").all()) == (part.drums is not None)
        assert part.drums is None or (back.drums is not None and torch.equal(back.drums, part.drums))
    assert not joined.mask("drums")[50:80].any()
    with pytest.raises(ValueError, match="one frame rate"):
        join_controls([parts[0], Controls(10, 25.0)])


def test_every_reference_is_in_a_clip_of_every_seed_and_at_another_place() -> None:
    plan = plan_long(6, 3, seeds=2, seed=5)
    assert [clip.order for clip in plan] == [(0, 1, 2), (3, 4, 5), (1, 2, 0), (4, 5, 3)]
    assert len({clip.name for clip in plan}) == 4 and [clip.seed for clip in plan] == [11, 12, 13, 14]
    for n, per_clip in ((5, 3), (2, 3)):
        with pytest.raises(
            ValueError, match=f"expected {per_clip} references or a multiple of that, got {n}"
        ):
            plan_long(n, per_clip)
    with pytest.raises(ValueError, match="at least 2 references a clip and 1 seed"):
        plan_long(4, 1)


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
    """Hears what `play` plays: the pitch as melody and as chord, loud frames as drums."""

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
class Player:
    """Plays what the controls say; in clips longer than `late_after_s`, `late_s` too late or with clicks."""

    late_s: float = 0.0
    clicks: bool = False
    late_after_s: float = 12.0
    asked: list[tuple[str, float, int]] = field(default_factory=list)

    def make(self, controls: Controls, text: str, duration_s: float, seed: int) -> Audio:
        self.asked.append((text, duration_s, seed))
        assert controls.melody is not None and controls.drums is not None
        midi = controls.melody.numpy().argmax(axis=1) + PITCH_LOW_MIDI
        strokes = controls.drums.numpy()[:, 0] > 0.5
        shift = round(50 * self.late_s) if duration_s > self.late_after_s else 0
        audio = play(np.roll(midi, shift), np.roll(strokes, shift), RATE)
        assert audio.duration_s == duration_s
        if self.clicks and duration_s > self.late_after_s:
            for border in window_borders(round(duration_s * FRAME_RATE), FRAME_RATE):
                audio.samples[:, border * RATE // 25 :][:, :8] = 0.99
        return audio

    def resynthesise(self, audio: Audio) -> Audio:
        return audio


def settings(clips: Sequence[Clip], duration_s: float) -> Settings:
    return Settings("player", duration_s, "none", 1, "1", 7, "tones", tuple(clip.name for clip in clips))


def run_lengths(maker: Player, clips: list[Clip], out: Path, per_clip: int, seeds: int = 1) -> Report:
    asked = settings(clips, clips[0].audio.duration_s)
    return evaluate_lengths(maker, clips, out, asked, ToneStore(), FRAME_RATE, per_clip, seeds)


@pytest.fixture(scope="module")
def songs() -> list[Clip]:
    return [song(number, 3.4) for number in range(10)]


def test_a_player_is_at_the_ceiling_in_any_length_and_is_not_asked_twice(
    songs: list[Clip], tmp_path: Path
) -> None:
    maker = Player()
    report = run_lengths(maker, songs[:6], tmp_path, per_clip=3, seeds=2)
    assert maker.asked[:6] == [("", 3.4, 7 + i) for i in range(6)]
    assert maker.asked[6:] == [("", 10.2, 13 + i) for i in range(4)]
    for control in ("chords", "drums", "melody"):
        for row in (report.short[control], report.long[control]):
            assert row.n == 6 and row.ceiling == 1.0 and row.score is not None and row.floor is not None
            assert row.score > 0.97 and row.floor < 0.6
        gap = report.differences[control]
        assert gap.n == 6 and gap.mean is not None and abs(gap.mean) < 0.02
    assert all(row.n == 0 and row.auc is None for row in report.seams)
    text = (tmp_path / "lengths.md").read_text()
    assert "| 10.2 s, cut " in text and text.count("6/6/6") == 6 and "blocks at joins, long clips" in text
    again = Player()
    assert run_lengths(again, songs[:6], tmp_path, per_clip=3, seeds=2) == report and again.asked == []
    with pytest.raises(ValueError, match="other settings"):
        run_lengths(again, songs[:4], tmp_path, per_clip=2)
    odd = [replace(clip, audio=clip.audio.fitted(2.99)) for clip in songs[:2]]
    with pytest.raises(ValueError, match=r"whole frames of 40 ms, got 2\.99 s"):
        run_lengths(again, odd, tmp_path / "odd", per_clip=2)


def test_long_clips_that_lose_their_place_or_click_at_windows_are_found_out(
    songs: list[Clip], tmp_path: Path
) -> None:
    late = run_lengths(Player(late_s=3.4), songs, tmp_path / "late", per_clip=10)
    for control in ("chords", "drums", "melody"):
        row, gap = late.long[control], late.differences[control]
        assert row.score is not None and row.floor is not None and gap.mean is not None
        assert row.score == pytest.approx(row.floor, abs=0.12) and gap.mean < -0.4
        assert (late.short[control].score or 0) > 0.97
    clicking = run_lengths(Player(clicks=True), songs, tmp_path / "clicks", per_clip=10)
    by_name = {row.name: row for row in clicking.seams}
    windows, same = by_name["windows, long clips"], by_name["windows, short clips end to end"]
    assert windows.n == same.n == 12 and windows.low is not None and windows.low > 0.9
    assert same.auc is not None and same.auc < 0.75
    quiet = {row.name: row for row in late.seams}["windows, long clips"]
    assert quiet.auc is not None and quiet.auc < 0.75


@dataclass
class Filler:
    """Gives the context back, its hole `gain` times as loud; `slip` is added to one kept sample."""

    gain: float = 1.0
    slip: float = 0.0
    asked: list[Spans] = field(default_factory=list)

    def fill(self, context: Audio, keep: Spans, controls: Controls, seed: int) -> Audio:
        self.asked.append(keep)
        assert controls.n_frames == round(50 * context.duration_s)
        samples, ((_, start_s), (end_s, _)) = context.samples.copy(), keep
        samples[:, round(start_s * RATE) : round(end_s * RATE)] *= self.gain
        samples[:, 100] += self.slip
        return Audio(samples, RATE)

    def resynthesise(self, audio: Audio) -> Audio:
        return Audio(0.5 * audio.samples, RATE)


def run_holes(maker: Filler, clips: list[Clip], out: Path) -> HoleReport:
    return evaluate_holes(maker, clips, out, settings(clips, 6.0), ToneStore(), RATE, FRAME_RATE)


def test_a_hole_filled_with_what_was_there(tmp_path: Path) -> None:
    clips, maker = [song(number, 6.0) for number in range(12)], Filler()
    report = run_holes(maker, clips, tmp_path)
    assert maker.asked == [((0.0, 2.0), (4.0, 6.0))] * 12
    assert report.n == 12 and report.kept_difference == 0.0
    for row in report.adherence:
        assert row.n == 12 and row.score == 1.0 and row.floor is not None and row.floor < 0.7
    against, rest, original = report.seams
    assert against.n == rest.n == 24 and against.auc == original.auc
    assert against.low is not None and against.high is not None and against.low < 0.5 < against.high
    assert rest.auc is not None and abs(rest.auc - 0.5) < 0.15
    assert report.levels["hole"].mean == pytest.approx(0.0, abs=1e-6)
    assert report.levels["resynthesis"].mean == pytest.approx(-6.02, abs=0.1)
    assert "0 of full scale" in (tmp_path / "holes.md").read_text()
    again = Filler()
    assert run_holes(again, clips, tmp_path) == report and again.asked == []


def test_a_quiet_hole_and_a_slip_are_found_out(tmp_path: Path) -> None:
    clips = [song(number, 6.0) for number in range(4)]
    quiet = run_holes(Filler(gain=0.03), clips, tmp_path / "quiet")
    assert quiet.levels["hole"].mean == pytest.approx(-30.5, abs=0.5) and quiet.kept_difference == 0.0
    assert quiet.seams[0].low is not None and quiet.seams[0].low > 0.95
    assert quiet.adherence[1].score == 0.0 and (quiet.adherence[2].score or 0) > 0.9
    slip = run_holes(Filler(slip=1e-3), clips, tmp_path / "slip")
    assert slip.kept_difference == pytest.approx(1e-3, abs=1e-4)
    with pytest.raises(ValueError, match="at least 2 references, got 1"):
        run_holes(Filler(), clips[:1], tmp_path / "one")


def test_fades_inside_what_is_kept_are_no_difference() -> None:
    original = song(0, 6.0).audio
    for at_s, differs in ((1.7, True), (1.8, False), (3.0, False), (4.2, False), (4.3, True)):
        samples = original.samples.copy()
        samples[:, round(at_s * RATE)] += 0.1
        made = Audio(samples, RATE)
        assert (kept_difference(Filled("clip", original, made, original)) > 0) == differs, at_s


def test_a_model_keeps_what_it_is_given(tiny_model: Path, tmp_path: Path) -> None:
    model = FlowMusic.from_pretrained(tiny_model)
    clips = [song(number, 6.0) for number in range(2)]
    report = evaluate_holes(
        FlowHoleMaker(model, steps=1), clips, tmp_path, settings(clips, 6.0), ToneStore(), 32_000, FRAME_RATE
    )
    assert report.kept_difference == 0.0
    made, original = (read_audio(tmp_path / "clips" / kind / "song0.wav") for kind in ("filled", "original"))
    assert made.samples.shape == original.samples.shape == (1, 6 * 32_000)
    assert not np.array_equal(made.samples[:, 64_000:128_000], original.samples[:, 64_000:128_000])


def test_what_does_not_fit_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_audio(tmp_path / "song.wav", song(0, 3.0).audio.samples, RATE)
    base = ["--references", str(tmp_path / "song.wav"), "--out", str(tmp_path / "out")]
    for main, arguments, message in (
        (lengths.main, base, "expected 18 references or a multiple of that, got 1"),
        (holes.main, base, "expected at least 12 s"),
        (holes.main, [*base, "--duration", "3"], "a duration of at least 6 s, got 3"),
    ):
        with pytest.raises(SystemExit) as exit_info:
            main(arguments)
        assert exit_info.value.code == 2 and message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
