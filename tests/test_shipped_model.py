"""The shipped weights do their job: what is generated follows its reference, and not another one."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.codec_quality import measure
from features.audio import Audio, read_audio
from features.events import extract_all
from features.extract import Extractors
from features.extracted import Extracted
from flowmusic.api.clip import Generation
from flowmusic.api.model import FlowMusic
from flowmusic.evaluation.adherence import HEADLINE, score
from flowmusic.model_files import BUNDLED_FOLDER

EXAMPLES = Path(__file__).parent.parent / "examples"
DURATION_S = 8.0


@cache
def model() -> FlowMusic:
    return FlowMusic.from_pretrained()


@cache
def extractors() -> Extractors:
    return Extractors()


@cache
def reference(name: str) -> Audio:
    return read_audio(EXAMPLES / f"{name}.ogg").fitted(DURATION_S)


@cache
def extracted(name: str) -> Extracted:
    return extract_all(reference(name), extractors())


@cache
def follower(name: str) -> tuple[Generation, Extracted]:
    """A clip conditioned on all that is extracted from one example, and what is extracted from it."""
    clip = model().generate(controls=extracted(name).controls, duration_s=DURATION_S, seed=3)
    return clip, extract_all((clip.audio, clip.sample_rate), extractors())


def headline(control: str, source: str, estimate: Extracted) -> float:
    value = score(extracted(source), estimate).get(HEADLINE[control])
    assert value is not None
    return value


@pytest.mark.parametrize(
    ("control", "source", "other", "bar", "margin"),
    [
        ("chords", "melody", "drums", 0.5, 0.3),
        ("drums", "drums", "melody", 0.6, 0.2),
        ("melody", "melody", "drums", 0.5, 0.2),
    ],
)
def test_a_clip_follows_its_own_reference_and_not_another(
    control: str, source: str, other: str, bar: float, margin: float
) -> None:
    own = headline(control, source, follower(source)[1])
    wrong = headline(control, source, follower(other)[1])
    assert own >= bar
    assert own >= wrong + margin


def test_symbols_are_followed_too() -> None:
    clip = model().generate(chords="C | G | Am | F", bpm=120, duration_s=DURATION_S, seed=1)
    conditions = score_chords(clip, "C | G | Am | F")
    assert conditions >= 0.5
    assert conditions >= score_chords(clip, "Eb | Bb | Cm | Ab") + 0.3


def score_chords(clip: Generation, chart: str) -> float:
    from features.chord_chart import parse_chord_chart
    from flowmusic.evaluation.adherence import chord_overlap

    estimate = extract_all((clip.audio, clip.sample_rate), extractors())
    value = chord_overlap(parse_chord_chart(chart, 120, 4, DURATION_S), estimate.chords)
    assert value is not None
    return value


def test_the_same_seed_makes_the_same_bytes_and_another_does_not() -> None:
    first, again, other = (
        model().generate(chords="Am | F", duration_s=2.0, seed=seed).audio for seed in (5, 5, 6)
    )
    assert first.tobytes() == again.tobytes()
    assert not np.array_equal(first, other)


def test_the_codec_keeps_what_matters() -> None:
    quality = measure(model().model.codec, reference("melody"))
    assert quality.log_magnitude_error_db is not None and quality.log_magnitude_error_db < 6.0
    assert quality.chroma_correlation is not None and quality.chroma_correlation > 0.9


def test_latents_of_music_have_about_unit_variance() -> None:
    audio = torch.from_numpy(reference("drums").resampled(model().sample_rate).mono())
    latents = model().model.codec.encode(audio[None, None])
    assert 0.5 < float(latents.std()) < 2.0


def test_the_box_is_small_enough() -> None:
    root = Path(__file__).parent.parent
    shipped = [path for place in ("flowmusic", "features") for path in (root / place).rglob("assets/**/*")]
    assert sum(path.stat().st_size for path in shipped if path.is_file()) < 50e6
    assert (BUNDLED_FOLDER / "README.md").is_file()
