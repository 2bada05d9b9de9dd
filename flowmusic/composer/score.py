"""What a song is before it is sound: notes, drum hits and chords in seconds."""

from __future__ import annotations

from dataclasses import dataclass, field

from flowmusic.composer.captions import SongFacts

STEMS = ("drums", "melody", "backing")


@dataclass(frozen=True)
class Note:
    """A pitched note; `midi` 60 is middle C, `velocity` is 1..127."""

    start_s: float
    end_s: float
    midi: int
    velocity: int


@dataclass(frozen=True)
class DrumHit:
    """A drum stroke; `midi` is its General MIDI percussion key."""

    time_s: float
    midi: int
    velocity: int


@dataclass(frozen=True)
class ChordSpan:
    """A stretch of one harmony; `label` in Harte syntax, `N` where nothing harmonic sounds."""

    start_s: float
    end_s: float
    label: str


@dataclass(frozen=True)
class Part:
    """One pitched instrument: a General MIDI program of a soundfont, and how it is played.

    `pan` is from -1 (left) to 1 (right).
    """

    name: str
    program: int
    soundfont: int
    notes: tuple[Note, ...]
    gain_db: float = 0.0
    reverb: float = 0.3
    chorus: float = 0.0
    vibrato: float = 0.0
    pan: float = 0.0


@dataclass(frozen=True)
class DrumPart:
    """The drum kit: a program of bank 128 and its strokes."""

    kit: int
    soundfont: int
    hits: tuple[DrumHit, ...]
    reverb: float = 0.3


@dataclass(frozen=True)
class Mastering:
    """Loudness of the stems (dB, relative to the backing), the peak of the mix, and the room."""

    drums_db: float
    melody_db: float
    peak: float
    room_size: float
    reverb_level: float


@dataclass(frozen=True)
class Score:
    """A complete song: everything the renderer needs and every label of the result."""

    source: str
    duration_s: float
    bpm: float
    metre: str
    beats_per_bar: int
    key: str
    mode: str
    chords: tuple[ChordSpan, ...]
    beats_s: tuple[float, ...]
    drums: DrumPart | None
    melody: Part | None
    backing: tuple[Part, ...]
    mastering: Mastering
    facts: SongFacts
    captions: tuple[str, ...] = ()
    tags: dict[str, object] = field(default_factory=dict)
