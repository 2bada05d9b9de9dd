"""The notes that a track of a MIDI file plays: note-offs, sustain pedals, bends and drum banks applied."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter, deque
from dataclasses import dataclass, field, replace

from features.smf import ChannelEvent, Clock, SmfTrack
from features.symbols import Note

DRUM_CHANNEL = 9
_OFF, _ON, _CONTROL, _PROGRAM, _BEND = 0x8, 0x9, 0xB, 0xC, 0xE
_BANK, _DATA_ENTRY, _SUSTAIN, _RPN_LOW, _RPN_HIGH = 0, 6, 64, 100, 101
_RPN_BEND_RANGE, _RPN_MPE = 0, 6
_DRUM_BANKS = (120, 127)
"""Banks of drum kits: General MIDI 2's and XG's."""
_DRUM_STROKE_S = 0.05
_MPE_RANGE, _USUAL_RANGE = 48.0, 2.0
_SHORTEST_PIECE_S = 0.03


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
    """What holds for a channel while its events are read."""

    program: int = 0
    is_drum: bool = False
    bend_range: float = _USUAL_RANGE
    parameter: tuple[int, int] = (127, 127)
    bend: float = 0.0
    pedal_down: int | None = None
    bends: list[tuple[int, float]] = field(default_factory=list)  # ticks and semitones, in order
    pedals: list[tuple[int, int]] = field(default_factory=list)  # ticks from down to up


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


def played_notes(track: SmfTrack, clock: Clock) -> PlayedNotes:
    """Read the notes of a track.

    A note-off ends the oldest note of its key. A note without one ends with the last note-off of its key,
    else with the track. Drum strokes count however short they are; other notes of no length are left out.
    """
    channels = {number: _Channel(is_drum=number == DRUM_CHANNEL) for number in range(16)}
    spans = _spans(track, channels)
    played = PlayedNotes()
    counts: Counter[str] = Counter()
    onsets = sorted({span.start for span in spans if not span.is_drum})
    for span in spans:
        end = track.end_tick if span.end is None else span.end
        if span.is_drum:
            start_s = clock.seconds(span.start)
            end_s = max(clock.seconds(end), start_s + _DRUM_STROKE_S)
            note = Note(start_s, end_s, span.key, max(1, span.velocity))
            played.notes.append(PlayedNote(note, span.channel, span.program, True))
            continue
        counts["endless"] += span.end is None
        held = _pedalled(end, channels[span.channel].pedals, onsets)
        if not span.start < held:
            counts["empty"] += 1
            continue
        pieces = _bent(replace(span, end=held), channels[span.channel].bends, clock)
        counts["bent"] += any(note.midi != span.key for note in pieces)
        played.notes += [PlayedNote(note, span.channel, span.program, False) for note in pieces]
    for kind, words in (
        ("endless", "have no note-off and end with the track"),
        ("empty", "have no length and are left out"),
        ("bent", "are bent, and follow the bend in whole semitones"),
    ):
        if counts[kind]:
            played.warnings.append(f"{counts[kind]} of {len(spans)} notes {words}")
    return played


def _spans(track: SmfTrack, channels: dict[int, _Channel]) -> list[_Span]:
    """All notes of the track in ticks; what else its channels say goes into `channels`."""
    spans: list[_Span] = []
    sounding: dict[tuple[int, int], deque[int]] = {}  # by channel and key: numbers of spans
    last_off: dict[tuple[int, int], int] = {}
    for event in track.events:
        channel, place = channels[event.channel], (event.channel, event.first)
        if event.kind == _ON and event.second > 0:
            sounding.setdefault(place, deque()).append(len(spans))
            spans.append(_Span(event.tick, None, *place, event.second, channel.program, channel.is_drum))
        elif event.kind in (_ON, _OFF):
            last_off[place] = event.tick
            if sounding.get(place):
                number = sounding[place].popleft()
                spans[number] = replace(spans[number], end=event.tick)
        elif event.kind == _PROGRAM:
            channel.program = event.first
        elif event.kind == _BEND:
            value = (event.second << 7 | event.first) - 8192
            channel.bends.append((event.tick, value / 8192 * channel.bend_range))
        elif event.kind == _CONTROL:
            _control(event, channel, channels)
    for channel in channels.values():
        if channel.pedal_down is not None:
            channel.pedals.append((channel.pedal_down, track.end_tick))
    for place, numbers in sounding.items():
        for number in numbers:
            if last_off.get(place, -1) > spans[number].start:
                spans[number] = replace(spans[number], end=last_off[place])
    return spans


def _control(event: ChannelEvent, channel: _Channel, channels: dict[int, _Channel]) -> None:
    if event.first == _BANK:
        channel.is_drum = event.channel == DRUM_CHANNEL or event.second in _DRUM_BANKS
    elif event.first == _SUSTAIN and event.second >= 64:
        channel.pedal_down = event.tick if channel.pedal_down is None else channel.pedal_down
    elif event.first == _SUSTAIN and channel.pedal_down is not None:
        channel.pedals.append((channel.pedal_down, event.tick))
        channel.pedal_down = None
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


def _bent(span: _Span, bends: list[tuple[int, float]], clock: Clock) -> list[Note]:
    """The notes that a note is heard as: each bend of half a semitone or more begins another."""
    end = span.start if span.end is None else span.end
    first = bisect_right(bends, (span.start, math.inf)) - 1
    pieces: list[tuple[int, int]] = []  # (start tick, key)
    for tick, semitones in [(span.start, bends[first][1] if first >= 0 else 0.0), *bends[first + 1 :]]:
        if tick >= end:
            break
        key = min(127, max(0, round(span.key + semitones)))
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
