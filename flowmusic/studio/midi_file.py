"""Notes, drum strokes and chords as a standard MIDI file."""

from __future__ import annotations

from collections.abc import Sequence

from features.chord_labels import ChordSegment, parse_chord
from features.symbols import DrumHit, Note

TICKS_PER_BEAT = 960
_DRUM_CHANNEL, _CHORD_CHANNEL, _MELODY_CHANNEL = 9, 1, 0
_STROKE_S = 0.05
_CHORD_BASE_MIDI, _CHORD_VELOCITY = 48, 70

Sounding = tuple[float, float, int, int]
"""Start and end in seconds, MIDI number, velocity."""


def midi_file(
    melody: Sequence[Note] = (),
    drums: Sequence[DrumHit] = (),
    chords: Sequence[ChordSegment] = (),
    bpm: float = 120.0,
) -> bytes:
    """A file of format 1: a track for the tempo, and one for each part that holds something.

    Times are rounded to a 960th of a beat. Chords are played as they are spelt, from C3 up.
    """
    parts = [
        ("melody", _MELODY_CHANNEL, [(n.start_s, n.end_s, n.midi, n.velocity) for n in melody]),
        ("drums", _DRUM_CHANNEL, [(h.time_s, h.time_s + _STROKE_S, h.midi, h.velocity) for h in drums]),
        ("chords", _CHORD_CHANNEL, [tone for chord in chords for tone in _tones(chord)]),
    ]
    microseconds = min(round(60e6 / bpm), 2**24 - 1)
    ticks_per_s = TICKS_PER_BEAT * 1e6 / microseconds
    tracks = [b"\x00\xff\x51\x03" + microseconds.to_bytes(3, "big")]
    tracks += [_track(name, channel, notes, ticks_per_s) for name, channel, notes in parts if notes]
    head = b"MThd" + b"".join(n.to_bytes(size, "big") for n, size in
                              ((6, 4), (1, 2), (len(tracks), 2), (TICKS_PER_BEAT, 2)))  # fmt: skip
    end = b"\x00\xff\x2f\x00"
    return head + b"".join(
        b"MTrk" + (len(track) + len(end)).to_bytes(4, "big") + track + end for track in tracks
    )


def _tones(chord: ChordSegment) -> list[Sounding]:
    pitch_classes = sorted(parse_chord(chord.label).pitch_classes)
    return [(chord.start_s, chord.end_s, _CHORD_BASE_MIDI + item, _CHORD_VELOCITY) for item in pitch_classes]


def _track(name: str, channel: int, notes: Sequence[Sounding], ticks_per_s: float) -> bytes:
    """Name and notes of a track; a note ends before another of its pitch begins in the same tick."""
    events: list[tuple[int, int, int, int]] = []
    for start_s, end_s, midi, velocity in notes:
        start = round(start_s * ticks_per_s)
        end = max(round(end_s * ticks_per_s), start + 1)
        events += [(start, 1, midi, min(max(velocity, 1), 127)), (end, 0, midi, 0)]
    out, now = bytearray(b"\x00\xff\x03" + bytes([len(name)]) + name.encode()), 0
    for tick, is_on, midi, velocity in sorted(events):
        out += _variable(tick - now) + bytes([(0x90 if is_on else 0x80) | channel, midi, velocity])
        now = tick
    return bytes(out)


def _variable(number: int) -> bytes:
    """A whole number in groups of seven bits, the highest first."""
    groups = [number & 0x7F]
    while number := number >> 7:
        groups.append(number & 0x7F | 0x80)
    return bytes(reversed(groups))
