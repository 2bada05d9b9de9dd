"""Chord symbols in any usual spelling -> `Chord`, with one canonical Harte label each."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from features.channels import N_CHORD_CHANNELS
from features.chord_qualities import QualityError, parse_quality
from features.frames import FrameGrid
from features.harte import (
    HARTE_SHORTHANDS,
    degree_to_interval,
    harte_quality,
    interval_to_degree,
    parse_harte_quality,
)
from features.symbols import NotationError, frame_overlap
from features.text_files import shortened

if TYPE_CHECKING:
    from torch import Tensor  # reading labels does without torch, which takes a second to import

NO_CHORD, UNKNOWN_CHORD = "N", "X"
NO_CHORD_CHANNEL = 36
# One name per pitch class, so that equal chords have equal labels; minor keys lean to sharps.
_MAJOR_NAMES = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
_MINOR_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B")
_LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_LONGEST_TEXT = 64
_TRANSLATED = str.maketrans(
    {"♭": "b", "♯": "#", "𝄫": "bb", "𝄪": "##", "−": "-", "–": "-", "º": "°", "˚": "°", "⌀": "ø"}
)
_NO_CHORD_TEXTS = frozenset(("NC", "N.C.", "N.C", "NOCHORD"))
_NOTE = re.compile(r"([A-G])(bb?|##?|)")
_DASHED_NOTE = re.compile(r"([A-G])(--?|bb?|##?|)")
_SPELT_ROOT = re.compile(r"^([A-G])[\s-]*([Ff]lat|[Ss]harp)(?![\s-]*(?:five|nine|5|9))")
_PART_END = r"(?=[\s()]|$)"
_TONE = re.compile(rf"\s*(?P<degree>[b#]{{0,2}}[0-9]{{1,2}})(?P<sign>[+-]?){_PART_END}")


class ChordError(NotationError):
    """Text that names no chord; the message quotes it and says why."""


@dataclass(frozen=True)
class Chord:
    """A chord: root and bass as pitch classes (C = 0), the sounding pitch classes, a Harte label.

    `root` and `bass` are None and `pitch_classes` empty for N (no chord) and X (unknown). The
    label is canonical: spellings of the same chord compare equal.
    """

    root: int | None
    bass: int | None
    pitch_classes: frozenset[int]
    label: str

    def channels(self) -> np.ndarray:
        """Return (37,): roots 0-11, basses 12-23, sounding pitch classes 24-35, no-chord 36; X is all 0."""
        channels = np.zeros(N_CHORD_CHANNELS, dtype=np.float32)
        if self.root is not None and self.bass is not None:
            channels[self.root] = channels[12 + self.bass] = 1.0
            channels[[24 + pitch_class for pitch_class in sorted(self.pitch_classes)]] = 1.0
        elif self.label == NO_CHORD:
            channels[NO_CHORD_CHANNEL] = 1.0
        return channels


def make_chord(root: int, intervals: frozenset[int], bass: int | None = None) -> Chord:
    """Make the chord of semitones `intervals` above pitch class `root`; the bass sounds, in them or not."""
    bass = root if bass is None else bass
    name = (_MINOR_NAMES if 3 in intervals and 4 not in intervals else _MAJOR_NAMES)[root]
    label = f"{name}:{harte_quality(intervals)}"
    if bass != root:
        label += f"/{interval_to_degree(bass - root)}"
    return Chord(root, bass, frozenset((root + i) % 12 for i in intervals) | {bass}, label)


@lru_cache(maxsize=4096)
def parse_chord(text: str, flat_dash: bool = False) -> Chord:
    """Read one chord symbol.

    Harte labels (`A:min7/b3`), chart spellings (`Am7/C`, `BbΔ`, `F#-7b5`, `C7/9`, `G7(b9,#11)`, `C5+`,
    `C^7`, `N.C.`), words (`C diminished`) and unicode signs are read. With `flat_dash`, a dash right after a
    root or bass letter is a flat, as music21 writes it (`B-7` is B flat 7); otherwise it means minor.

    Raises:
        ChordError: the text is no chord.
    """
    plain = unicodedata.normalize("NFKC", text.translate(_TRANSLATED)).strip()
    plain = _SPELT_ROOT.sub(lambda match: match[1] + ("b" if match[2].lower() == "flat" else "#"), plain)
    if not plain:
        raise ChordError(f"{_quoted(text)} is not a chord: it is empty")
    if len(plain) > _LONGEST_TEXT:
        raise ChordError(f"{_quoted(text)} is not a chord: it is longer than {_LONGEST_TEXT} characters")
    if plain == NO_CHORD or plain.upper() in _NO_CHORD_TEXTS:
        return Chord(None, None, frozenset(), NO_CHORD)
    if plain == UNKNOWN_CHORD:
        return Chord(None, None, frozenset(), UNKNOWN_CHORD)
    match = (_DASHED_NOTE if flat_dash else _NOTE).match(plain)
    if match is None:
        raise ChordError(f"{_quoted(text)} is not a chord: {_root_hint(plain)}")
    root, rest = _pitch_class(match), plain[match.end() :]
    try:
        return _harte_chord(root, rest) or _usual_chord(root, rest, flat_dash)
    except QualityError as error:
        raise ChordError(f"{_quoted(text)} is not a chord: {error}") from error


def _harte_chord(root: int, rest: str) -> Chord | None:
    """Read `:quality/degree`; None where `rest` is not in Harte's syntax."""
    quality, slash, degree = rest.partition("/")
    intervals = parse_harte_quality(quality[1:]) if quality.startswith(":") else None
    bass = degree_to_interval(degree) if slash else 0
    if intervals is None or bass is None:
        return None
    return make_chord(root, intervals, (root + bass) % 12)


def _usual_chord(root: int, rest: str, flat_dash: bool) -> Chord:
    """Read what follows a root: `m7`, `m7/E`, `7/9`; after '/' stands a bass note, or tones of the chord.

    A third or a fifth sounds anyway, and a plain triad with an altered degree would have been written without
    the slash: those are basses.
    """
    rest = rest.replace("6/9", "69")
    if rest.startswith(":") and len(rest) > 1:
        rest = rest[1:]
    quality, *parts = rest.split("/")
    note = re.compile(rf"\s*(?:{(_DASHED_NOTE if flat_dash else _NOTE).pattern}){_PART_END}")
    bass: int | None = None
    for part in parts:
        given = None
        if (match := note.match(part)) is not None:
            given = _pitch_class(match)
        elif (match := _TONE.match(part)) is not None:
            degree, plain = match["degree"], not re.search(r"[0-9]", quality)
            interval = degree_to_interval(degree)
            if interval is None:
                raise QualityError(f"{degree!r} after '/' is no degree 1 to 13")
            names_bass = degree in ("1", "3", "b3", "5") or (plain and degree[0] in "b#")
            if names_bass and not match["sign"]:
                given = (root + interval) % 12
            elif degree[0] in "b#" or match["sign"]:
                quality += f" {degree}{match['sign']}"
            else:
                quality += f" {degree}" if degree == "7" else f" add{degree}"
        elif (match := re.match(r"\s*(?=maj|M|Δ|△|∆|\^)", part)) is None:
            raise QualityError(f"'/' must be followed by one bass note or degree; {_root_hint(part.strip())}")
        if given is not None and bass is not None:
            raise QualityError("it names two basses")
        bass = bass if given is None else given
        quality += f" {part[match.end() :]}"
    return make_chord(root, parse_quality(quality), root if bass is None else bass)


def _pitch_class(match: re.Match[str]) -> int:
    letter, accidentals = match[1], match[2]
    flats = accidentals.count("b") + accidentals.count("-")
    return (_LETTERS[letter] + accidentals.count("#") - flats) % 12


def _root_hint(text: str) -> str:
    if text[:1] in ("H", "h"):
        return "in German notation H is B natural: write B (or Bb for B flat)"
    if text[:1] in tuple("abcdefg"):
        return f"a note is a capital letter, perhaps {text[0].upper() + text[1:]!r}"
    return "a note is one of A B C D E F G, with b or # for flat or sharp; N stands for no chord"


def _quoted(text: str) -> str:
    return repr(shortened(text, _LONGEST_TEXT))


def majmin(label: str | Chord) -> str:
    """Reduce a chord to 'C:maj', 'A:min', 'N', or 'X' for what is neither.

    As `mir_eval.chord.majmin` compares: by the tones up to the fifth, bass included, so that sus4, dim, aug
    and C/D become X, while C7, C9 and C/E become C:maj.
    """
    from mir_eval.chord import QUALITIES, encode

    chord = parse_chord(label) if isinstance(label, str) else label
    if chord.root is None:
        return chord.label
    low = encode(chord.label)[1][:8].tolist()
    quality = next((name for name in ("maj", "min") if QUALITIES[name][:8] == low), None)
    return UNKNOWN_CHORD if quality is None else make_chord(chord.root, HARTE_SHORTHANDS[quality]).label


@dataclass(frozen=True)
class ChordSegment:
    """A chord, as a label, sounding in [start_s, end_s)."""

    start_s: float
    end_s: float
    label: str

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start_s) and math.isfinite(self.end_s) and 0 <= self.start_s < self.end_s):
            raise NotationError(f"a chord must have 0 <= start < end, got {self.start_s} to {self.end_s} s")


def merge_segments(segments: Sequence[ChordSegment]) -> tuple[ChordSegment, ...]:
    """Join touching segments of equal labels; the segments must be in order of time."""
    merged: list[ChordSegment] = []
    for segment in segments:
        last = merged[-1] if merged else None
        if last is not None and last.label == segment.label and abs(segment.start_s - last.end_s) < 1e-6:
            merged[-1] = ChordSegment(last.start_s, segment.end_s, segment.label)
        else:
            merged.append(segment)
    return tuple(merged)


def segments_to_channels(segments: Sequence[ChordSegment], grid: FrameGrid) -> Tensor:
    """Return the chord channels of labelled segments, float32 (T, 37).

    A frame that two chords share holds each by its share of time. Frames that no segment
    covers are 0 throughout (`segments_mask` distinguishes them from silence, which is N).
    """
    channels = np.zeros((grid.n_frames, N_CHORD_CHANNELS), dtype=np.float32)
    for segment in segments:
        frames, weights = frame_overlap(grid, segment.start_s, segment.end_s)
        channels[frames] += weights[:, None] * parse_chord(segment.label).channels()
    import torch

    return torch.from_numpy(channels).clamp_(max=1.0)  # (T, K)


def segments_mask(segments: Sequence[ChordSegment], grid: FrameGrid) -> Tensor:
    """Return bool (T,): True for the frames of which known chords (or N, not X) cover half at least."""
    covered = np.zeros(grid.n_frames, dtype=np.float32)
    for segment in segments:
        if segment.label != UNKNOWN_CHORD:
            frames, weights = frame_overlap(grid, segment.start_s, segment.end_s)
            covered[frames] += weights
    import torch

    return torch.from_numpy(covered >= 0.5 - 1e-6)


def pack_segments(segments: Sequence[ChordSegment]) -> Tensor:
    """Write chord segments as bytes (N,) uint8, for files that hold tensors alone."""
    text = json.dumps([asdict(segment) for segment in segments])
    import torch

    return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)


def unpack_segments(packed: Tensor) -> tuple[ChordSegment, ...]:
    """Read what `pack_segments` wrote."""
    return tuple(ChordSegment(**item) for item in json.loads(bytes(packed.numpy())))
