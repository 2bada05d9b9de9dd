"""Chords, scales and progressions. Pitch classes count semitones from C = 0."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from features.harte import interval_to_degree, parse_harte_quality

SHARP_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
FLAT_NAMES = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")

_QUALITY_NAMES = (
    "maj", "min", "7", "min7", "maj7", "dim", "aug", "sus4", "sus2", "maj6", "min6", "dim7", "hdim7",
    "minmaj7", "9", "maj9", "min9", "7(b9)", "aug(b7)", "sus4(b7)",
)  # fmt: skip
QUALITIES: dict[str, tuple[int, ...]] = {
    name: tuple(sorted(parse_harte_quality(name) or ())) for name in _QUALITY_NAMES
}
"""Intervals above the root, rising, of the chords that songs are written in, by Harte's names."""

SCALES: dict[str, tuple[int, ...]] = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
}
MINOR_MODES = frozenset({"minor", "dorian", "phrygian"})

# Roots as scale degrees, one a chord. Negative: the degree lowered by a semitone (borrowed).
_TEMPLATES: tuple[tuple[int, ...], ...] = (
    (1, 5, 6, 4), (1, 4, 5, 1), (6, 4, 1, 5), (2, 5, 1, 1), (1, 6, 2, 5), (1, 6, 4, 5),
    (4, 5, 3, 6), (1, 3, 4, 5), (1, 2, 4, 5), (3, 6, 2, 5), (1, 4), (1, 5), (4, 1, 5, 6),
    (1, -7, 4, 1), (1, -6, -7, 1), (1, 7, 6, 5), (1, 4, 7, 3, 6, 2, 5, 1), (1, 1, 4, 1, 5, 4, 1, 5),
    (1, 5, 6, 3, 4, 1, 4, 5), (6, 2, 5, 1), (1, 2), (1, -3, 4, -6), (6, 5, 4, 5), (1, 3, 6, 4),
)  # fmt: skip


@dataclass(frozen=True)
class Chord:
    """A chord by root, quality (a key of `QUALITIES`) and bass, all pitch classes 0..11."""

    root: int
    quality: str
    bass: int

    @property
    def pitch_classes(self) -> tuple[int, ...]:
        """Pitch classes upwards from the root."""
        return tuple((self.root + interval) % 12 for interval in QUALITIES[self.quality])

    def label(self, flats: bool) -> str:
        """Harte syntax, such as `Bb:min7` or `C:maj/3`."""
        name = (FLAT_NAMES if flats else SHARP_NAMES)[self.root]
        slash = "" if self.bass == self.root else "/" + interval_to_degree(self.bass - self.root)
        return f"{name}:{self.quality}{slash}"

    def transposed(self, semitones: int) -> Chord:
        return Chord((self.root + semitones) % 12, self.quality, (self.bass + semitones) % 12)


def nearest_quality(intervals: frozenset[int]) -> str:
    """The quality whose intervals above the root differ least from `intervals` (first wins)."""
    return min(QUALITIES, key=lambda name: len(intervals.symmetric_difference(QUALITIES[name])))


def scale_pitch_classes(tonic: int, mode: str) -> tuple[int, ...]:
    return tuple((tonic + step) % 12 for step in SCALES[mode])


def uses_flats(tonic: int, mode: str) -> bool:
    """Whether the key signature has flats (the relative major decides)."""
    relative = {"minor": 3, "dorian": 10, "phrygian": 8, "mixolydian": 5, "lydian": 7}.get(mode, 0)
    return (tonic + relative) % 12 in {5, 10, 3, 8, 1}


def diatonic_chord(tonic: int, mode: str, degree: int, seventh: bool) -> Chord:
    """Stack thirds of the scale on `degree` (1..7; negative: lowered and made major)."""
    if degree < 0:
        # In a minor mode the degree is already low; in a major one lower it by a semitone.
        lowered = 0 if mode in MINOR_MODES or (mode == "mixolydian" and degree == -7) else 1
        root = (tonic + SCALES[mode][-degree - 1] - lowered) % 12
        return Chord(root, "maj", root)
    steps = SCALES[mode]
    first = steps[degree - 1]
    size = 4 if seventh else 3
    stack = [(steps[(degree - 1 + 2 * k) % 7] - first) % 12 for k in range(size)]
    root = (tonic + first) % 12
    return Chord(root, nearest_quality(frozenset(stack)), root)


def _degrees(n_chords: int, rng: np.random.Generator) -> list[int]:
    if rng.random() < 0.65:
        template = _TEMPLATES[int(rng.integers(len(_TEMPLATES)))]
        return [template[k % len(template)] for k in range(n_chords)]
    weights = np.array([0.24, 0.13, 0.09, 0.2, 0.18, 0.13, 0.03])
    return [int(d) for d in rng.choice(np.arange(1, 8), size=n_chords, p=weights)]


def _coloured(chord: Chord, colour: float, rng: np.random.Generator) -> Chord:
    """Suspend, extend or invert a chord now and then; `colour` 0..1 says how adventurous."""
    quality = chord.quality
    draw = rng.random()
    if quality in ("maj", "min") and draw < 0.06 + 0.05 * colour:
        quality = "sus4" if rng.random() < 0.6 else "sus2"
    elif quality == "7" and draw < 0.25 * colour:
        quality = str(rng.choice(["9", "7(b9)", "sus4(b7)", "aug(b7)"]))
    elif quality in ("maj7", "min7") and draw < 0.25 * colour:
        quality = {"maj7": "maj9", "min7": "min9"}[quality]
    elif quality in ("maj", "min") and draw < 0.06 + 0.2 * colour:
        quality = {"maj": "maj6", "min": "min6"}[quality]
    elif quality == "maj" and draw > 0.985:
        quality = "aug"
    coloured = replace(chord, quality=quality)
    if rng.random() < 0.12:
        inversions = coloured.pitch_classes[1:3]
        coloured = replace(coloured, bass=int(rng.choice(inversions)))
    return coloured


def write_progression(
    tonic: int, mode: str, n_chords: int, colour: float, rng: np.random.Generator
) -> list[Chord]:
    """A progression of `n_chords` in a key; `colour` 0..1 adds sevenths and chromatic chords."""
    degrees = _degrees(n_chords, rng)
    chords: list[Chord] = []
    for degree in degrees:
        chord = diatonic_chord(tonic, mode, degree, seventh=bool(rng.random() < colour))
        if mode == "minor" and degree == 5 and rng.random() < 0.6:
            chord = replace(chord, quality="7" if rng.random() < 0.5 else "maj")
        if rng.random() < 0.02 + 0.03 * colour:
            root = int(rng.integers(12))
            chord = Chord(root, str(rng.choice(["maj", "min", "7", "min7", "maj7"])), root)
        chords.append(_coloured(chord, colour, rng))
    for k in range(1, len(chords) - 1):
        if rng.random() < 0.05 + 0.08 * colour:
            target = chords[k + 1].root
            root = (target + 7) % 12 if rng.random() < 0.7 else (target - 1) % 12
            quality = "7" if root == (target + 7) % 12 else "dim7"
            chords[k] = Chord(root, quality, root)
    return chords
