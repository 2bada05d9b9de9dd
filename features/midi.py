"""MIDI files -> tracks of notes, the melody among them, and drum hits."""

from __future__ import annotations

import heapq
import logging
import re
from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from features.files import is_file, is_folder
from features.midi_notes import PlayedNote, names_drums, plain_name, played_notes
from features.smf import Smf, SmfError, SmfTrack, read_smf
from features.symbols import DrumHit, NotationError, Note
from features.text_files import placeholder

logger = logging.getLogger(__name__)

_LEGATO_S = 0.08
_SHORTEST_NOTE_S = 0.03
MAX_DURATION_S = 36_000.0
_MAX_BYTES = 32_000_000
_BASS_PROGRAMS = range(32, 40)
_NAMES_OF_PADS = ("", "voice", "vox", "vocals", "synth vox", "strings", "choir")
_PAD_PROGRAMS = (*range(48, 56), *range(88, 96))
"""String and choir ensembles, and synth pads of General MIDI, counted from 0."""
_MELODY_NAMES = tuple(
    re.compile(word, re.IGNORECASE)
    for word in (
        r"\bm[eé]lod",
        r"\blead\b.*(?:voc|vox|voice|sing)",
        r"\b(?:vocals?|vox|voice|singer|gesang|chant|voz|soprano)\b",
        r"\blead\b",
        r"\bsolo\b",
        r"\b(?:right hand|r\.?h|treble)\b",
    )
)
_BESIDE_MELODY = re.compile(
    r"\b(?:back(?:ing|ground|up)?|bgv?s?|choir|chorus|chœur|chor|harmon\w*|oohs?|aahs?|doo|pads?|strings?|streicher"
    r"|ensemble|counter|bass|tenor|alto|chords?|accomp\w*|left hand|synth voice)\b",
    re.IGNORECASE,
)
_BASS_NAME = re.compile(r"\bbass\b", re.IGNORECASE)
_LEAST_SHARE = 0.15
"""A part that is called the melody has this share of the notes of the longest one; else it is a cue."""

_KIT_KEYS = frozenset((*range(35, 54), 55, 57, 59))
_ALIKE = 6.0
"""Tracks look alike that differ by less, on the scale of `_melody_score` (semitones)."""

_ENOUGH_CHANNELS = 4
"""So many channels of one program are the strings of a guitar, or the notes of an MPE controller."""


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
        """All strokes of the drum channel (10), or of tracks that are called drums, in order of time.

        Raises:
            NotationError: there are none; the message lists what there is.
        """
        tracks = [track for track in self.tracks if track.is_drum]
        if not tracks:
            tracks = [track for track in self.tracks if names_drums(track.name)]
            tracks = tracks or [track for track in self.tracks if _has_kit_keys(track)]
            if tracks:
                names = "; ".join(str(track) for track in tracks)
                logger.warning("%s has nothing on channel 10: its drums are taken from %s", self.path, names)
        hits = [DrumHit(n.start_s, n.midi, n.velocity) for track in tracks for n in track.notes]
        if not hits:
            raise NotationError(
                f"{self.path} has no drums: expected notes on channel 10, or a track of that name, found "
                f"{self._contents()}"
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

        That is one named melody, lead vocal, voice, lead or solo, in this order, and not a choir or a pad;
        else the one that is most monophonic, high and present, with pads, and then bass lines, only if there
        is nothing else.
        """
        pitched = [track for track in self.tracks if not track.is_drum]
        if not pitched:
            raise NotationError(
                f"{self.path} has no melody: expected a pitched track, found {self._contents()}"
            )
        longest = max(len(track.notes) for track in pitched)
        plausible = [track for track in pitched if len(track.notes) >= _LEAST_SHARE * longest]
        for pattern in _MELODY_NAMES:
            named = [t for t in plausible if pattern.search(plain_name(t.name)) and not _is_beside(t)]
            if named:
                return self._highest(named)
        for candidates in (
            [t for t in pitched if not (_is_bass(t) or _is_beside(t) or names_drums(t.name))],
            [t for t in pitched if not (_is_bass(t) or names_drums(t.name))],
            pitched,
        ):
            if candidates:
                break
        return self._highest(candidates)

    def _highest(self, candidates: list[MidiTrack]) -> MidiTrack:
        """The best of some tracks; where others look alike, a warning names them."""
        if len(candidates) == 1:
            return candidates[0]
        scores = {track.index: _melody_score(track, self.duration_s) for track in candidates}
        best, *rest = sorted(candidates, key=lambda track: (-scores[track.index], track.index))
        alike = [track for track in rest if scores[track.index] > scores[best.index] - _ALIKE]
        if alike:
            others = "; ".join(str(track) for track in alike)
            logger.warning("%s: track %s is taken for the melody, not %s", self.path, best, others)
        return best

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

    A track chunk is a track, unless several programs sound in it together; in a file of format 0, which has
    but one, a channel is a track. One line over several channels is one track. Notes of channel 10, and of
    channels in a drum bank, are drums. A sustain pedal holds a note up to the next one. Bends move a note by
    whole semitones.

    Raises:
        NotationError: no such file, a folder, not MIDI, broken (with track and byte), or without any notes.
    """
    path = Path(path)
    data = _read_bytes(path)
    try:
        smf = read_smf(data)
    except SmfError as error:
        raise NotationError(f"{path} cannot be read as MIDI: {error}") from error
    tracks = [track for chunk in smf.tracks for track in _tracks_of(path, smf, chunk)]
    if not tracks:
        raise NotationError(f"{path} holds no notes; expected a MIDI file with a melody or drums")
    tracks = [replace(track, index=index) for index, track in enumerate(tracks)]
    duration_s = max(note.end_s for track in tracks for note in track.notes)
    if duration_s > MAX_DURATION_S:
        raise NotationError(
            f"{path} lasts {duration_s:.0f} s; expected a MIDI file of at most {MAX_DURATION_S:.0f} s"
        )
    return MidiScore(path, tuple(tracks), duration_s)


def _read_bytes(path: Path) -> bytes:
    if is_folder(path):
        raise NotationError(f"{path} is a folder; expected a MIDI file")
    if not is_file(path):
        raise NotationError(f"{path} does not exist; expected a MIDI file")
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise NotationError(f"{path} has {path.stat().st_size} bytes, too many for a MIDI file")
        data = path.read_bytes()
    except OSError as error:
        raise NotationError(f"{path} cannot be read: {error}") from error
    if found := placeholder(data[:512]):
        raise NotationError(f"{path} {found}; expected a MIDI file")
    if data[:4] not in (b"MThd", b"RIFF"):
        raise NotationError(f"{path} is not a MIDI file: expected it to begin with 'MThd'")
    return data


def _tracks_of(path: Path, smf: Smf, chunk: SmfTrack) -> list[MidiTrack]:
    """The tracks of a chunk: its drums, and its instruments."""
    setup = [event for track in smf.tracks if not track.has_notes for event in track.events]
    played = played_notes(chunk, smf.clock(chunk), setup if smf.format == 1 else [])
    for warning in played.warnings:
        logger.warning("%s: %s", path, f"track {chunk.name!r}: {warning}" if chunk.name else warning)
    drums, groups = _instruments(played.notes, smf.format)
    groups = [drums, *groups] if drums else groups
    # the name of a file's only track is its title, unless there is one instrument alone
    name = chunk.name if smf.format != 0 or len(groups) == 1 else ""
    return [
        MidiTrack(
            0,
            name,
            notes[0].program,
            notes is drums,
            tuple(sorted((item.note for item in notes), key=lambda note: (note.start_s, note.midi))),
        )
        for notes in groups
    ]


def _instruments(notes: list[PlayedNote], form: int) -> tuple[list[PlayedNote], list[list[PlayedNote]]]:
    """The drums of a chunk, and its other notes by instrument.

    One line over several channels is one, also over the drum channel (MPE); so are many channels of one
    program. Otherwise a program is an instrument, and in a file of format 0, whose only chunk holds all, a
    channel.
    """
    drums = [note for note in notes if note.is_drum]
    pitched = [note for note in notes if not note.is_drum]
    if drums and len({note.channel for note in pitched}) >= _ENOUGH_CHANNELS and _is_one_line(notes):
        drums, pitched = [], notes
    if not pitched:
        return drums, []
    if _is_one_line(pitched):
        return drums, [pitched]
    first_program: dict[int, int] = {}
    for note in pitched:
        first_program.setdefault(note.channel, note.program)
    many = Counter(first_program.values())
    groups: dict[tuple[int, int], list[PlayedNote]] = {}
    for note in pitched:
        program = first_program[note.channel]
        by_channel = form == 0 and many[program] < _ENOUGH_CHANNELS
        groups.setdefault((program, note.channel if by_channel else -1), []).append(note)
    return drums, list(groups.values())


def _is_one_line(notes: list[PlayedNote]) -> bool:
    """Whether notes come one after the other; they may overlap as legato does."""
    ordered = sorted((item.note for item in notes), key=lambda note: note.start_s)
    overlaps = sum(after.start_s < before.end_s - _LEGATO_S for before, after in pairwise(ordered))
    return overlaps <= 0.05 * len(ordered)


def _is_bass(track: MidiTrack) -> bool:
    median = float(np.median([note.midi for note in track.notes]))
    return track.program in _BASS_PROGRAMS or _BASS_NAME.search(track.name) is not None or median < 45


def _is_beside(track: MidiTrack) -> bool:
    """Whether a track accompanies by its name, or by its program where the name says nothing else."""
    name = plain_name(track.name)
    if _BESIDE_MELODY.search(name) or (_BASS_NAME.search(name) is not None):
        return True
    return track.program in _PAD_PROGRAMS and name.lower() in _NAMES_OF_PADS


def _has_kit_keys(track: MidiTrack) -> bool:
    """Whether all keys are those of a drum kit, with a bass drum and a snare or a hi-hat among them."""
    keys = {note.midi for note in track.notes}
    return keys <= _KIT_KEYS and bool(keys & {35, 36}) and bool(keys & {38, 40, 42, 44, 46})


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
