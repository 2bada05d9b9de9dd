"""A clip of text alone: what the text asks of harmony, rhythm and tune is composed first.

The flow learns from sound which instruments a text means; what a minor key, a tempo or the form of a song is,
a composer knows. Its chords, drums and melody become controls like any others.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from features.audio import AudioSource
from features.controls import Controls
from features.references import Reference
from flowmusic.api.editing import Edit
from flowmusic.composer.compose import Composition, compose, tempo_of
from flowmusic.composer.reader import load_reader
from flowmusic.conditioning.pseudo_words import pseudo_words
from flowmusic.conditioning.text import TransformersTextEncoder


def is_text_alone(
    text: str | None,
    references: Sequence[Reference],
    controls: Controls | None,
    style: AudioSource | None,
    edit: Edit | None,
    song: int | None,
) -> bool:
    """Whether nothing but a text says what is played; a variation of such a clip names its `song` as well."""
    if text is None or not text.strip() or pseudo_words(text):
        return False
    if references or style is not None or (controls is not None and controls.given):
        return False
    return edit is None or (song is not None and edit.context is None)


def compose_for(
    text: str,
    duration_s: float,
    song: int,
    bpm: float | None = None,
    encoder: TransformersTextEncoder | None = None,
) -> Composition:
    """A song for a text; `song` is its seed, `bpm` its tempo, else the one that the text may state.

    `encoder` is the embedded text encoder, for a caller who has it loaded.
    """
    encoder = _encoder() if encoder is None else encoder
    evidence = load_reader().evidence(encoder.encode_means([text])[0])
    return compose(text, evidence, duration_s, song, tempo_of(text) if bpm is None else bpm)


@cache
def _encoder() -> TransformersTextEncoder:
    """The embedded encoder, which the reader was trained with, whatever the model's own is."""
    return TransformersTextEncoder()
