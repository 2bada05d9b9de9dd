"""How well clips of a text alone follow the songs that were composed for them."""

from __future__ import annotations

from collections.abc import Iterable

from features.audio import Audio
from features.cache import FeatureCache
from features.events import extract_events
from features.extract import Extractors
from flowmusic.composer.for_text import compose_for
from flowmusic.conditioning.text import TransformersTextEncoder
from flowmusic.evaluation.scoring import Judge, score_events

Followed = dict[str, list[float]]
"""Scores by control: chord overlap, drum onset F1, raw chroma accuracy of the melody."""


def followed(clips: Iterable[tuple[Audio, str, int]], duration_s: float) -> Followed:
    """Scores of clips, each a sound, its text and its seed, where their songs hold something to follow."""
    extractors, encoder = Extractors(cache=FeatureCache()), TransformersTextEncoder()
    judge = Judge(extractors)
    found: Followed = {}
    for audio, text, song in clips:
        composed = compose_for(text, duration_s, song, encoder=encoder).references
        asked = extract_events(extractors, composed, duration_s)
        scores = score_events(asked, judge.extract_recording(audio, asked.given), [(0.0, duration_s)])
        for name, score in scores.items():
            if score is not None:
                found.setdefault(name, []).append(score)
    return found


def sentence(scores: Followed) -> str:
    """Their means, in one sentence."""
    parts = [
        f"{name} {sum(scores[name]) / len(scores[name]):.3f} (n = {len(scores[name])})"
        for name in ("chords", "drums", "melody")
        if scores.get(name)
    ]
    return (
        f"Their songs are followed: {', '.join(parts)}." if parts else "Their songs hold nothing to follow."
    )
