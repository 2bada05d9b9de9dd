"""A song for a text: what words ask of harmony, rhythm and tune is composed by rules.

The flow learns from sound which instruments a text means; what a minor key, a tempo or the form of a song is,
the rule-based composer knows. Its chords, drums and melody become controls like any others.
"""

from __future__ import annotations

import logging
from functools import cache

from flowmusic.composer.compose import Composition, compose, tempo_of
from flowmusic.composer.reader import load_reader
from flowmusic.conditioning.minilm import MiniLm

log = logging.getLogger(__name__)


def compose_for(
    text: str,
    duration_s: float,
    song: int,
    bpm: float | None = None,
    encoder: MiniLm | None = None,
    whole_bars: bool = False,
) -> Composition:
    """A song of at least `duration_s` seconds for a text.

    Args:
        song: its random seed.
        bpm: its tempo; by default the one that the text may state, or one that fits the text.
        encoder: the bundled text encoder, for a caller who has it loaded.
        whole_bars: whether `duration_s` has to be a whole number of bars, so that the song can be looped:
            a tempo that nobody asked for is moved to where they fit, and none drifts.
    """
    encoder = _encoder() if encoder is None else encoder
    evidence = load_reader().evidence(encoder.encode_means([text])[0])
    asked_bpm = tempo_of(text) if bpm is None else bpm
    composition = compose(text, evidence, duration_s, song, asked_bpm, steady=whole_bars)
    if not whole_bars:
        return composition
    beats_per_bar = composition.score.beats_per_bar
    bars = duration_s * composition.score.bpm / 60 / beats_per_bar
    if asked_bpm is None:
        fitting_bpm = max(1, round(bars)) * beats_per_bar * 60 / duration_s
        return compose(text, evidence, duration_s, song, fitting_bpm, steady=True)
    if abs(bars - round(bars)) > 0.02:
        log.warning(
            "%g s at %g bpm are %.2f bars: the loop does not end on a bar line", duration_s, asked_bpm, bars
        )
    return composition


@cache
def _encoder() -> MiniLm:
    """The bundled encoder, which the reader was trained with, whatever the model's own is."""
    return MiniLm()
