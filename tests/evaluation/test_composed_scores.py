"""Clips of a text alone against the songs composed for them: the right song scores, another does not."""

from __future__ import annotations

import numpy as np

from features.audio import Audio
from flowmusic.composer.compose import Composition
from flowmusic.composer.for_text import compose_for
from flowmusic.evaluation.composed_scores import followed, sentence

TEXT, RATE, DURATION_S = "no beat at all, only slow held chords on an organ", 32_000, 10.0
SCALE = {name: k for k, name in enumerate(("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"))}
SCALE |= {"Db": 1, "Eb": 3, "Gb": 6, "Ab": 8, "Bb": 10}
THIRDS = {"maj": (0, 4, 7), "min": (0, 3, 7)}


def _played(song: Composition) -> Audio:
    """Its chords as triads of harmonic tones."""
    times_s = np.arange(round(DURATION_S * RATE)) / RATE
    sound = np.zeros_like(times_s)
    for span in song.score.chords:
        if span.label == "N":
            continue
        root, quality = span.label.split("/")[0].split(":")
        inside = (times_s >= span.start_s) & (times_s < span.end_s)
        for step in THIRDS["min" if quality.startswith("min") else "maj"]:
            tone_hz = 130.81 * 2 ** ((SCALE[root] + step) / 12)
            sound += inside * sum(0.1 / k * np.sin(2 * np.pi * k * tone_hz * times_s) for k in range(1, 6))
    return Audio((0.3 * sound[None]).astype(np.float32), RATE)


def test_a_clip_that_plays_its_song_scores_and_another_does_not() -> None:
    songs = [compose_for(TEXT, DURATION_S, song) for song in range(3)]
    sounds = [_played(song) for song in songs]
    own = followed(((sound, TEXT, k) for k, sound in enumerate(sounds)), DURATION_S)
    wrong = followed(((sound, TEXT, (k + 1) % 3) for k, sound in enumerate(sounds)), DURATION_S)
    assert len(own["chords"]) >= 2
    assert np.mean(own["chords"]) > 0.7 > 0.4 > np.mean(wrong["chords"])


def test_scores_are_told_by_their_means() -> None:
    text = sentence({"chords": [0.5, 1.0], "drums": [0.25]})
    assert text == "Their songs are followed: chords 0.750 (n = 2), drums 0.250 (n = 1)."
    assert sentence({}) == "Their songs hold nothing to follow."
