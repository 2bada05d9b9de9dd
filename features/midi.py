"""MIDI files -> melody notes and drum hits."""

from __future__ import annotations

import heapq
import logging
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from features.symbols import DrumHit, NotationError, Note

logger = logging.getLogger(__name__)

_LEGATO_S = 0.08
_SHORTEST_NOTE_S = 0.03
_BASS_PROGRAMS = range(32, 40)
_MELODY_NAMES = tuple(
    re.compile(word, re.IGNORECASE) for word in ("melod", "vocal|vox|voice|sing", "lead", "solo")
)
_BASS_NAME = re.compile(r"\bbass\b", re.IGNORECASE)


@dataclass(frozen=True)
class MidiTrack:
    """One instrument of a MIDI file: its notes in order of time."""

    index: int
    name: str
    program: int
    is_drum: bool
    notes: tuple[Note, ...]

    def __str__(self) -> str:
        kind = "drums" if self.is_drum else f"program {self.program}"
        return f"{self.index}: {self.name or 'unnamed'!r} ({kind}, {len(self.notes)} notes)"


@dataclass(frozen=True)
class MidiScore:
    """What a MIDI file holds."""

    path: Path
    tracks: tuple[MidiTrack, ...]
    duration_s: float

    def drum_hits(self) -> tuple[DrumHit, ...]:
        """All strokes of the drum channel (10), in order of time. NotationError where there are none."""
        hits = [DrumHit(n.start_s, n.midi, n.velocity) for t in self.tracks if t.is_drum for n in t.notes]
        if not hits:
            raise NotationError(
                f"{self.path} has no drums: expected notes on channel 10, found {self._contents()}"
            )
        return tuple(sorted(hits, key=lambda hit: (hit.time_s, hit.midi)))

    def melody(self, track: str | int | None = None) -> tuple[Note, ...]:
        """One note at a time, in order: `melody_track`, or track number or name `track`.

        Where several notes of it sound, the highest is taken.

        Raises:
            NotationError: no such track, or no pitched notes; the message lists what there is.
        """
        return skyline((self.melody_track() if track is None else self._named(track)).notes)

    def melody_track(self) -> MidiTrack:
        """The track that `melody` takes by default.

        That is one named melody, vocal, voice, lead or solo, in this order; else the one that is
        most monophonic, high and present, with bass lines only if there is nothing else.
        """
        pitched = [track for track in self.tracks if not track.is_drum]
        if not pitched:
            raise NotationError(
                f"{self.path} has no melody: expected a pitched track, found {self._contents()}"
            )
        for pattern in _MELODY_NAMES:
            if named := [track for track in pitched if pattern.search(track.name)]:
                return max(named, key=lambda track: (_melody_score(track, self.duration_s), -track.index))
        candidates = [track for track in pitched if not _is_bass(track)] or pitched
        return max(candidates, key=lambda track: (_melody_score(track, self.duration_s), -track.index))

    def _named(self, wanted: str | int) -> MidiTrack:
        if isinstance(wanted, int):
            matches = [track for track in self.tracks if track.index == wanted]
        else:
            exact = [track for track in self.tracks if track.name.lower() == wanted.lower()]
            part = [track for track in self.tracks if wanted and wanted.lower() in track.name.lower()]
            matches = exact or part
        if not matches:
            raise NotationError(f"{self.path} has no track {wanted!r}; found {self._contents()}")
        if matches[0].is_drum:
            raise NotationError(f"{self.path}: track {wanted!r} is a drum track; expected a pitched one")
        return matches[0]

    def _contents(self) -> str:
        return "; ".join(str(track) for track in self.tracks)


def read_midi(path: str | Path) -> MidiScore:
    """Read a MIDI file.

    Raises:
        NotationError: no such file, a folder, not MIDI, broken, or without any notes.
    """
    path = Path(path)
    _check_is_midi(path)
    import pretty_midi
    from mido.midifiles.meta import KeySignatureError

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            midi = pretty_midi.PrettyMIDI(str(path))
        # mido and pretty_midi let whatever a broken file provokes pass through.
        except (
            OSError,
            EOFError,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            ArithmeticError,
            KeySignatureError,
        ) as error:
            raise NotationError(f"{path} cannot be read as MIDI: {error or type(error).__name__}") from error
    for warning in caught:
        logger.warning("%s: %s", path, warning.message)
    sounding = [(instrument, notes) for instrument in midi.instruments if (notes := _notes(instrument.notes))]
    tracks = tuple(
        MidiTrack(i, instrument.name.strip("\0 "), instrument.program, instrument.is_drum, notes)
        for i, (instrument, notes) in enumerate(sounding)
    )
    if not tracks:
        raise NotationError(f"{path} holds no notes; expected a MIDI file with a melody or drums")
    return MidiScore(path, tracks, max(note.end_s for track in tracks for note in track.notes))


def _check_is_midi(path: Path) -> None:
    if path.is_dir():
        raise NotationError(f"{path} is a folder; expected a MIDI file")
    if not path.is_file():
        raise NotationError(f"{path} does not exist; expected a MIDI file")
    try:
        with path.open("rb") as file:
            head = file.read(4)
    except OSError as error:
        raise NotationError(f"{path} cannot be read: {error}") from error
    if head != b"MThd":
        raise NotationError(f"{path} is not a MIDI file: expected it to begin with 'MThd'")


def _notes(raw: Iterable[Any]) -> tuple[Note, ...]:
    """Well-formed notes in order of time."""
    notes = [
        Note(float(note.start), float(note.end), int(note.pitch), int(note.velocity))
        for note in raw
        if note.end > note.start >= 0 and 0 <= note.pitch <= 127
    ]
    return tuple(sorted(notes, key=lambda note: (note.start_s, note.midi)))


def _is_bass(track: MidiTrack) -> bool:
    median = float(np.median([note.midi for note in track.notes]))
    return track.program in _BASS_PROGRAMS or _BASS_NAME.search(track.name) is not None or median < 45


def _melody_score(track: MidiTrack, duration_s: float) -> float:
    """In semitones: the height of the top line, up to 24 more each for monophony and for presence."""
    top = skyline(track.notes)
    sung_s = sum(note.end_s - note.start_s for note in top)
    all_s = sum(note.end_s - note.start_s for note in track.notes)
    if not top:
        return -1.0
    presence = min(1.0, sung_s / max(duration_s, 1e-6) * 3)
    return float(np.median([note.midi for note in top])) + 24 * min(1.0, sung_s / all_s) + 24 * presence


def skyline(notes: tuple[Note, ...]) -> tuple[Note, ...]:
    """The highest sounding note at each time, as notes in order that do not overlap.

    A note that reaches up to 80 ms into the next one (legato) ends where that begins; leftovers
    shorter than 30 ms between higher notes are dropped.
    """
    ordered = sorted(_without_legato(notes), key=lambda note: note.start_s)
    edges = sorted({edge for note in ordered for edge in (note.start_s, note.end_s)})
    sounding: list[tuple[int, float, int]] = []  # (-pitch, -start, index): the highest, then the latest
    pieces: list[tuple[float, float, int]] = []  # (start, end, index of the note)
    following = 0
    for start_s, end_s in pairwise(edges):
        while following < len(ordered) and ordered[following].start_s <= start_s:
            note = ordered[following]
            heapq.heappush(sounding, (-note.midi, -note.start_s, following))
            following += 1
        while sounding and ordered[sounding[0][2]].end_s <= start_s:
            heapq.heappop(sounding)
        if not sounding:
            continue
        index = sounding[0][2]
        if pieces and pieces[-1][2] == index and pieces[-1][1] == start_s:
            pieces[-1] = (pieces[-1][0], end_s, index)
        else:
            pieces.append((start_s, end_s, index))
    return tuple(
        Note(start_s, end_s, ordered[index].midi, ordered[index].velocity)
        for start_s, end_s, index in pieces
        if end_s - start_s >= _SHORTEST_NOTE_S
        or (start_s, end_s) == (ordered[index].start_s, ordered[index].end_s)
    )


def _without_legato(notes: tuple[Note, ...]) -> list[Note]:
    starts = np.array(sorted({note.start_s for note in notes}))
    trimmed = []
    for note in notes:
        # The last onset within the tail of the note, if the note is long enough to lose it.
        tail = max(note.end_s - _LEGATO_S, (note.start_s + note.end_s) / 2)
        i = int(np.searchsorted(starts, tail, side="left"))
        cut = i < len(starts) and note.start_s < starts[i] < note.end_s
        trimmed.append(Note(note.start_s, float(starts[i]), note.midi, note.velocity) if cut else note)
    return trimmed
