"""The notes that a track of a MIDI file plays: note-offs, sustain pedals, bends and drum banks applied."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from features.smf import BEND, CONTROL, NOTE_OFF, NOTE_ON, PROGRAM, ChannelEvent, Clock, SmfTrack
from features.symbols import Note

DRUM_CHANNEL = 9
_BANK, _DATA_ENTRY, _SUSTAIN, _RPN_LOW, _RPN_HIGH = 0, 6, 64, 100, 101
_SOUND_OFF, _RESET, _NOTES_OFF = 120, 121, 123
_RPN_BEND_RANGE, _RPN_MPE = 0, 6
_DRUM_BANK = 120
"""The bank of drum kits of General MIDI 2. (XG's, 127, holds other sounds in GS.)"""
_DRUM_STROKE_S = 0.05
_LONE_NOTE_S = 0.5
_MPE_RANGE, _USUAL_RANGE = 48.0, 2.0
_SHORTEST_PIECE_S = 0.03
_DRUM_NAME = re.compile(
    r"(?<!steel )\b(?:drums?|drum ?(?:kit|set|rack)|kit|percussion|beats?|kick|snare|hi ?hats?"
    r"|schlagzeug|batterie)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class PlayedNote:
    """A note with its channel and the program of that; drums are notes without pitch."""

    note: Note
    channel: int
    program: int
    is_drum: bool


@dataclass
class PlayedNotes:
    """The notes of a track, and what was left out of it or changed, in words."""

    notes: list[PlayedNote] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass
class _Channel:
    """What holds for a channel while events are read, and what was read: bends and pedals.

    bends   ticks and semitones, rounded to whole ones, in order
    pedals  ticks from down to up, in order
    """

    program: int = 0
    is_drum: bool = False
    bend_range: float = _USUAL_RANGE
    parameter: tuple[int, int] = (127, 127)
    pedal_down: int | None = None
    bends: list[tuple[int, int]] = field(default_factory=list)
    pedals: list[tuple[int, int]] = field(default_factory=list)

    def bend(self, tick: int, semitones: float) -> None:
        whole = round(semitones)
        if whole != (self.bends[-1][1] if self.bends else 0):
            self.bends.append((tick, whole))

    def release(self, tick: int) -> None:
        """The pedal goes up, if it is down."""
        if self.pedal_down is not None:
            self.pedals.append((self.pedal_down, tick))
            self.pedal_down = None


@dataclass(frozen=True)
class _Span:
    """A note in ticks; `end` is None while it sounds."""

    start: int
    end: int | None
    channel: int
    key: int
    velocity: int
    program: int
    is_drum: bool


def played_notes(track: SmfTrack, clock: Clock, setup: Sequence[ChannelEvent] = ()) -> PlayedNotes:
    """Read the notes of a track.

    A note-off ends the oldest note of its key. A note without one ends with a later note-off of its key, else
    where the next note begins, or with the track. Drum strokes count however short they are, also those of a
    track that is called drums; other notes of no length are left out.

    setup: messages of tracks without notes, which hold for all tracks that sound beside them.
    """
    spans, channels = _spans(track, setup)
    strokes_count = names_drums(track.name)
    played = PlayedNotes()
    counts: Counter[str] = Counter()
    onsets = sorted({span.start for span in spans if not span.is_drum})
    for span in spans:
        end = _end_of(span, onsets, track.end_tick)
        start_s = clock.seconds(span.start)
        if span.is_drum or (strokes_count and end <= span.start):
            end_s = max(clock.seconds(end), start_s + _DRUM_STROKE_S)
            note = Note(start_s, end_s, span.key, max(1, span.velocity))
            played.notes.append(PlayedNote(note, span.channel, span.program, span.is_drum))
            continue
        counts["endless"] += span.end is None
        if span.end is None and end <= span.start:  # nothing comes after it
            note = Note(start_s, start_s + _LONE_NOTE_S, span.key, span.velocity)
            played.notes.append(PlayedNote(note, span.channel, span.program, False))
            continue
        held = _pedalled(end, channels[span.channel].pedals, onsets)
        if not span.start < held:
            counts["empty"] += 1
            continue
        pieces = _bent(replace(span, end=held), channels[span.channel].bends, clock)
        counts["bent"] += any(note.midi != span.key for note in pieces)
        played.notes += [PlayedNote(note, span.channel, span.program, False) for note in pieces]
    for kind, reason in (
        ("endless", "have no note-off and end with the next note or the track"),
        ("empty", "have no length and are left out"),
        ("bent", "are bent, and follow the bend in whole semitones"),
    ):
        if counts[kind]:
            played.warnings.append(f"{counts[kind]} of {len(spans)} notes {reason}")
    return played


def plain_name(name: str) -> str:
    """A track's name in words: `Lead_Vocal`, `LeadVocal` -> Lead Vocal."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", re.sub(r"[_.\-]+", " ", name)).strip()


def names_drums(name: str) -> bool:
    """Whether a track's name says that it is a drum kit, or a part of one."""
    return _DRUM_NAME.search(plain_name(name)) is not None


def _end_of(span: _Span, onsets: list[int], end_tick: int) -> int:
    if span.end is not None:
        return span.end
    following = bisect_right(onsets, span.start)
    return onsets[following] if following < len(onsets) else end_tick


def _spans(track: SmfTrack, setup: Sequence[ChannelEvent]) -> tuple[list[_Span], dict[int, _Channel]]:
    """All notes of the track in ticks, and what else its channels say."""
    channels = {number: _Channel(is_drum=number == DRUM_CHANNEL) for number in range(16)}
    spans: list[_Span] = []
    sounding: dict[tuple[int, int], deque[int]] = {}  # by channel and key: numbers of spans
    last_off: dict[tuple[int, int], int] = {}
    events = sorted([*setup, *track.events], key=lambda event: event.tick) if setup else track.events
    for event in events:
        channel, place = channels[event.channel], (event.channel, event.first)
        if event.message == NOTE_ON and event.second > 0:
            sounding.setdefault(place, deque()).append(len(spans))
            spans.append(_Span(event.tick, None, *place, event.second, channel.program, channel.is_drum))
        elif event.message in (NOTE_ON, NOTE_OFF):
            last_off[place] = event.tick
            if sounding.get(place):
                number = sounding[place].popleft()
                spans[number] = replace(spans[number], end=event.tick)
        elif event.message == PROGRAM:
            channel.program = event.first
        elif event.message == BEND:
            value = (event.second << 7 | event.first) - 8192
            channel.bend(event.tick, value / 8192 * channel.bend_range)
        elif event.message == CONTROL and event.first in (_SOUND_OFF, _NOTES_OFF):
            for (number_of, _), numbers in sounding.items():
                while number_of == event.channel and numbers:
                    number = numbers.popleft()
                    spans[number] = replace(spans[number], end=event.tick)
        elif event.message == CONTROL:
            _control(event, channel, channels)
    for channel in channels.values():
        channel.release(track.end_tick)
    for place, numbers in sounding.items():
        for number in numbers:
            if last_off.get(place, -1) > spans[number].start:
                spans[number] = replace(spans[number], end=last_off[place])
    return spans, channels


def _control(event: ChannelEvent, channel: _Channel, channels: dict[int, _Channel]) -> None:
    if event.first == _BANK:
        channel.is_drum = event.channel == DRUM_CHANNEL or event.second == _DRUM_BANK
    elif event.first == _SUSTAIN and event.second >= 64:
        channel.pedal_down = event.tick if channel.pedal_down is None else channel.pedal_down
    elif event.first == _SUSTAIN:
        channel.release(event.tick)
    elif event.first == _RESET:
        channel.bend(event.tick, 0.0)
        channel.release(event.tick)
    elif event.first == _RPN_HIGH:
        channel.parameter = (event.second, channel.parameter[1])
    elif event.first == _RPN_LOW:
        channel.parameter = (channel.parameter[0], event.second)
    elif event.first == _DATA_ENTRY and channel.parameter == (0, _RPN_BEND_RANGE):
        channel.bend_range = float(event.second)
    elif event.first == _DATA_ENTRY and channel.parameter == (0, _RPN_MPE) and event.second:
        for other in channels.values():  # the channels of an MPE zone bend by four octaves
            if other is not channel:
                other.bend_range = _MPE_RANGE


def _pedalled(end: int, pedals: list[tuple[int, int]], onsets: list[int]) -> int:
    """Until when a note is heard: a pedal that is down at its end holds it, but not into the next note."""
    index = bisect_right(pedals, (end, -1)) - 1
    for down, up in pedals[max(index, 0) : index + 2]:
        if down <= end < up:
            following = bisect_right(onsets, end - 1)
            return max(end, min(up, onsets[following] if following < len(onsets) else up))
    return end


def _bent(span: _Span, bends: list[tuple[int, int]], clock: Clock) -> list[Note]:
    """The notes that a note is heard as: each bend to another semitone begins one."""
    end = span.start if span.end is None else span.end
    first = bisect_right(bends, (span.start, 127)) - 1
    last = bisect_right(bends, (end, -127))
    pieces: list[tuple[int, int]] = []  # (start tick, key)
    for tick, semitones in [(span.start, bends[first][1] if first >= 0 else 0), *bends[first + 1 : last]]:
        key = min(127, max(0, span.key + semitones))
        if not pieces or pieces[-1][1] != key:
            too_short = pieces and clock.seconds(tick) - clock.seconds(pieces[-1][0]) < _SHORTEST_PIECE_S
            start = pieces.pop()[0] if too_short else tick
            pieces.append((start, key))
    edges = [tick for tick, _ in pieces[1:]] + [end]
    return [
        Note(clock.seconds(start), clock.seconds(stop), key, span.velocity)
        for (start, key), stop in zip(pieces, edges, strict=True)
        if clock.seconds(start) < clock.seconds(stop)
    ]
