"""Inpaint, outpaint, continue, loop and vary, on real sound with the shipped model."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from features.audio import Audio, read_audio
from flowmusic.api.clip import Clip
from flowmusic.api.editing import BORDER_FADE_S, Edit, HeldVelocity, lay_out, mirrored, starting_point
from flowmusic.api.model import FlowMusic
from flowmusic.api.request import Request
from flowmusic.codec.decoding import decode_clip

EXAMPLES = Path(__file__).parents[2] / "examples"
FADE = round(BORDER_FADE_S * 32_000)
CHART = "C | G | Am | F"


@cache
def model() -> FlowMusic:
    return FlowMusic.from_pretrained()


@cache
def song() -> Audio:
    """Left and right differ: both are kept."""
    melody = read_audio(EXAMPLES / "melody.ogg").resampled(32_000).fitted(6.0).mono()
    return Audio(np.stack([melody, 0.5 * melody]), 32_000)


@cache
def made(edit_name: str) -> Clip:
    requests = {
        "inpaint": Request(context=song(), keep="0-2,4-6", duration=6.0),
        "continue": Request(context=song().fitted(3.0), extend=True, duration=5.0),
        "outpaint": Request(context=song().fitted(3.0), context_at=2.0, duration=6.0),
        "loop": Request(context=song(), keep="1-3", loop=True, duration=4.02),
    }
    return model().generate(requests[edit_name], chords=CHART, seed=2, steps=4)


def inpainted(context: Audio, **options: Any) -> Clip:
    request = Request(context=context, keep="0-2,4-6", duration=6.0, seed=2, steps=4, chords=CHART)
    return model().generate(request.replace(**options))


def same_as_original(clip: Clip, start_s: float, end_s: float, original: Audio, at_s: float) -> bool:
    first, last = round(start_s * 32_000) + FADE, round(end_s * 32_000) - FADE
    kept = original.in_channels(2)[:, first - round(at_s * 32_000) : last - round(at_s * 32_000)]
    return bool(np.array_equal(clip.audio[:, first:last], kept))


def jump(audio: np.ndarray, at_s: float) -> float:
    """Rank, from 0 to 1, of the spectral change at a time among those of the whole clip."""
    frames = np.lib.stride_tricks.sliding_window_view(audio, 1024)[::256]
    levels = np.log10(np.abs(np.fft.rfft(frames * np.hanning(1024))) + 1e-3)
    change = np.linalg.norm(levels[4:] - levels[:-4], axis=1)  # between neighbours that do not overlap
    middle = (np.arange(change.size) * 256 + 1024) / 32_000
    near = np.abs(middle - at_s) < 0.05
    return float((change < np.median(change[near])).mean())


def test_inpainting_keeps_the_song_and_fills_the_hole() -> None:
    clip = made("inpaint")
    assert clip.audio.shape == (2, 6 * 32_000)
    assert same_as_original(clip, 0, 2, song(), 0) and same_as_original(clip, 4, 6, song(), 0)
    hole = clip.audio[0, 65_000:127_000]
    assert not np.allclose(hole, song().mono()[65_000:127_000], atol=1e-2)
    assert hole.std() > 0.05 * song().mono().std()
    assert jump(clip.audio[0], 2.0) < 0.99 and jump(clip.audio[0], 4.0) < 0.99


def test_the_hole_follows_its_controls() -> None:
    """Other chords change the hole and nothing else."""
    other = inpainted(song(), chords="Eb | Bb").audio
    first, last = 2 * 32_000, 4 * 32_000
    assert not np.allclose(other[0, first:last], made("inpaint").audio[0, first:last], atol=1e-2)
    assert np.array_equal(other[0, last + FADE :], made("inpaint").audio[0, last + FADE :])


def test_continuing_goes_on_after_the_end() -> None:
    clip = made("continue")
    assert same_as_original(clip, 0, 3, song(), 0)
    after = clip.audio[0, 3 * 32_000 :]
    assert after.size == 2 * 32_000 and after.std() > 0.05 * song().mono().std()
    assert jump(clip.audio[0], 3.0) < 0.99


def test_outpainting_leaves_room_on_both_sides() -> None:
    clip = made("outpaint")
    assert same_as_original(clip, 2, 5, song().fitted(3.0), 2.0)
    for part in (clip.audio[0, : 2 * 32_000], clip.audio[0, 5 * 32_000 :]):
        assert part.std() > 0.05 * song().mono().std()


def test_a_loop_ends_where_it_starts() -> None:
    clip = made("loop")
    assert clip.audio.shape == (2, round(4.02 * 32_000))
    assert same_as_original(clip, 1, 3, song(), 0)
    turned = np.roll(clip.audio[0], 64_000)
    assert jump(turned, 2.0) < 0.97
    seam = abs(float(clip.audio[0, 0]) - float(clip.audio[0, -1]))
    assert seam <= np.abs(np.diff(clip.audio[0])).max()


@pytest.mark.parametrize("seed", [1, 3])
def test_only_a_loop_continues_at_its_start(seed: int) -> None:
    """In its samples, where other clips click unless by chance, and in its latents, which leap less."""
    loop, plain = (
        model().generate(chords=CHART, duration=4.0, loop=loop, seed=seed, steps=4) for loop in (True, False)
    )
    assert click(loop.audio[0]) < 0.25
    assert leap(loop.latents) < 0.8 * leap(plain.latents)
    for clip, circular in ((loop, True), (plain, False)):
        decoded, other = (
            clip.info.gain * decode_clip(model().model.codec, clip.latents, 4 * 32_000, way)
            for way in (circular, not circular)
        )
        assert np.allclose(clip.audio, decoded, atol=1e-6) and not np.allclose(clip.audio, other, atol=1e-3)


def click(audio: np.ndarray) -> float:
    """Step from the last sample to the first, against the largest step between neighbours."""
    return abs(float(audio[0]) - float(audio[-1])) / float(np.abs(np.diff(audio)).max())


def leap(latents: torch.Tensor) -> float:
    """Change from the last frame to the first, against the median change between neighbours."""
    change = (latents[1:] - latents[:-1]).norm(dim=1)
    return float((latents[0] - latents[-1]).norm() / change.median())


def test_a_weak_variation_is_nearer_than_a_strong_one() -> None:
    codec = model().model.codec
    source = codec.encode(torch.from_numpy(song().fitted(3.0).samples)[None])[0]
    distances = []
    for strength in (0.1, 0.5, 1.0):
        clip = model().generate(vary=song().fitted(3.0), strength=strength, chords=CHART, seed=2, steps=4)
        assert clip.duration_s == 3.0
        distances.append(float((clip.latents - source).square().mean()))
    assert distances[0] < distances[1] < distances[2]
    plain = model().generate(chords=CHART, duration=3.0, seed=2, steps=4)
    assert np.array_equal(clip.audio, plain.audio), "strength 1 is a new clip"


def test_known_frames_end_at_their_latents() -> None:
    codec = model().model.codec
    canvas = lay_out(Edit(song(), ((0, 2), (4, 6))), codec, 150, 6.0, torch.device("cpu"))
    # Four frames on each side of a border see beyond it.
    assert canvas.known[0, :46].all() and not canvas.known[0, 46:104].any() and canvas.known[0, 104:].all()
    known = canvas.known.unsqueeze(-1)
    latents = made("inpaint").latents[None]
    torch.testing.assert_close(
        latents.where(known, 0.0), canvas.context.where(known, 0.0), atol=1e-4, rtol=1e-4
    )


def test_the_end_of_a_recording_is_not_taken_for_silence() -> None:
    """Frames whose windows reach beyond the recording's end are left to the model."""
    codec = model().model.codec
    canvas = lay_out(Edit(song().fitted(3.0), extend=True), codec, 125, 5.0, torch.device("cpu"))
    assert canvas.known[0, :71].all() and not canvas.known[0, 71:].any()  # 3 s less .16 s at 25 Hz
    assert canvas.kept == ((0, 3 * 32_000),)


def test_held_frames_move_straight() -> None:
    x_0, x_1 = torch.zeros(1, 4, 2), torch.ones(1, 4, 2)

    class Still:
        def __call__(self, x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            return torch.zeros_like(x_t)

        def item(self, index: int) -> Still:
            return self

    known = torch.tensor([[True, False, True, False]])
    velocity = HeldVelocity(Still(), x_0, x_1, known).item(0)(x_0, torch.tensor([0.5]))
    assert velocity[0, :, 0].tolist() == [1, 0, 1, 0]


def test_a_variation_starts_on_the_path() -> None:
    codec = model().model.codec
    canvas = lay_out(Edit(vary=song(), strength=0.25), codec, 150, 6.0, torch.device("cpu"))
    x_0 = torch.randn(1, 150, codec.latent_dim, generator=torch.Generator().manual_seed(0))
    x_t, t = starting_point(canvas, x_0)
    assert t == 0.75 and canvas.start is not None
    torch.testing.assert_close(x_t, 0.25 * x_0 + 0.75 * canvas.start)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context": song(), "keep": "7-9", "duration": 10.0}, "holds no context"),
        ({"context": song(), "extend": True, "duration": 4.0}, "must be longer"),
        ({"context": "nowhere.wav"}, "does not exist"),
        ({"vary": "nowhere.wav"}, "does not exist"),
    ],
)
def test_edits_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model().generate(Request(**options))


def test_what_lay_in_a_hole_leaves_no_trace() -> None:
    """Whatever else stood there, the clip and the latents that are known are the same, bit by bit."""
    samples = song().samples.copy()
    noise = np.random.default_rng(0).standard_normal((2, 2 * 32_000))
    samples[:, 2 * 32_000 : 4 * 32_000] = 0.3 * noise.astype(np.float32)
    other = Audio(samples, 32_000)
    codec, place = model().model.codec, torch.device("cpu")
    first, second = (
        lay_out(Edit(item, ((0, 2), (4, 6))), codec, 150, 6.0, place) for item in (song(), other)
    )
    assert torch.equal(first.context, second.context) and torch.equal(first.known, second.known)
    changed = inpainted(other)
    assert np.array_equal(changed.audio, made("inpaint").audio)


def test_gaps_are_filled_with_mirror_images() -> None:
    sound = np.arange(12.0, dtype=np.float32)[None]
    filled = mirrored(sound, ((2, 5), (9, 12)))[0]
    assert filled.tolist() == [3, 2, 2, 3, 4, 4, 3, 10, 9, 9, 10, 11]
