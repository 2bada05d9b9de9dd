"""Lanes: chords, melody and drums as plain data that a page edits, and the references that they become."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from features.chord_labels import ChordSegment, parse_chord
from features.files import whole_file
from features.symbols import DrumHit, NotationError, Note
from flowmusic.studio.midi_file import midi_file

LANES = ("chords", "melody", "drums")
MAX_ITEMS = 20_000
BAND_KEYS = (36, 45, 38, 42)
"""General MIDI keys that stand for the four bands of a drum control: kick, low, snare, hats."""

Item = dict[str, Any]
Lane = list[Item]

_KEYS: dict[str, tuple[str, ...]] = {
    "chords": ("start", "end", "label"),
    "melody": ("start", "end", "midi", "velocity"),
    "drums": ("time", "midi", "velocity"),
}
_OVERLAP_S = 0.01
_SHORTEST_NOTE_S = 0.08
_VOICED = 0.5


def check_lane(role: str, items: object) -> Lane:
    """A lane in the order of time. ValueError, in a sentence that names the item, where it cannot be one."""
    if role not in LANES:
        raise ValueError(f"unknown lane {role!r}; expected {', '.join(LANES)}")
    if not isinstance(items, list):
        raise ValueError(f"the lane {role} must be a list, got {type(items).__name__}")
    if len(items) > MAX_ITEMS:
        raise ValueError(f"the lane {role} has {len(items)} items; expected at most {MAX_ITEMS}")
    checked = []
    for number, item in enumerate(items, 1):
        try:
            checked.append(_checked(role, item))
        except NotationError as error:
            raise ValueError(f"{role}, item {number}: {error}") from error
    checked.sort(key=lambda item: item["time"] if role == "drums" else item["start"])
    if role == "chords":
        for first, second in pairwise(checked):
            if second["start"] < first["end"] - _OVERLAP_S:
                raise ValueError(
                    f"chords must not overlap: {first['label']} ends at {first['end']:g} s, "
                    f"{second['label']} begins at {second['start']:g} s"
                )
    return checked


def _checked(role: str, item: object) -> Item:
    keys = _KEYS[role]
    if not isinstance(item, Mapping):
        raise NotationError(f"expected an object of {', '.join(keys)}, got {type(item).__name__}")
    if unknown := sorted(str(key) for key in set(item) - set(keys)):
        raise NotationError(f"unknown key {unknown[0]!r}; expected {', '.join(keys)}")
    values: Item = {}
    for key in keys:
        value = item.get(key, 100 if key == "velocity" else None)
        if key == "label":
            if not isinstance(value, str):
                raise NotationError(f"label must be a chord, got {value!r}")
        elif isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e9:
            raise NotationError(f"{key} must be a number, got {value!r:.40}")
        elif key in ("midi", "velocity"):
            if value != int(value):
                raise NotationError(f"{key} must be a whole number, got {value!r}")
            value = int(value)
        else:
            value = float(value)
        values[key] = value
    if not 1 <= values.get("velocity", 1) <= 127:
        raise NotationError(f"velocity must be from 1 to 127, got {values['velocity']}")
    symbol = symbols(role, [values])[0]  # their own checks
    if isinstance(symbol, ChordSegment):
        parse_chord(symbol.label)
    return values


def symbols(role: str, lane: Sequence[Item]) -> list[Any]:
    """The `ChordSegment`, `Note` or `DrumHit` of each item."""
    kinds: dict[str, Any] = {"chords": ChordSegment, "melody": Note, "drums": DrumHit}
    return [kinds[role](*(item[key] for key in _KEYS[role])) for item in lane]


def items(role: str, found: Sequence[ChordSegment] | Sequence[Note] | Sequence[DrumHit]) -> Lane:
    """Plain data of symbols, times rounded to 0.1 ms."""
    names = {"start": "start_s", "end": "end_s", "time": "time_s"}
    return [
        {
            key: round(value, 4) if isinstance(value := getattr(item, names.get(key, key)), float) else value
            for key in _KEYS[role]
        }
        for item in found
    ]


def within(role: str, lane: Sequence[Item], span: Sequence[float] | None, duration_s: float) -> Lane:
    """What of a lane sounds inside a span (None: all of the clip), cut at its ends."""
    first, last = (0.0, duration_s) if span is None else (span[0], min(span[1], duration_s))
    if role == "drums":
        return [dict(item) for item in lane if first <= item["time"] < last]
    cut = [dict(item, start=max(item["start"], first), end=min(item["end"], last)) for item in lane]
    return [item for item in cut if item["end"] - item["start"] > 1e-3]


def lane_file(role: str, lane: Sequence[Item], folder: Path, bpm: float) -> Path:
    """The lane as a file that every command reads, named by what it holds: .lab for chords, else MIDI."""
    if role == "chords":
        content = "".join(
            f"{item['start']:.6f}\t{item['end']:.6f}\t{parse_chord(item['label']).label}\n" for item in lane
        ).encode()
    else:
        content = midi_file(**{role: symbols(role, lane)}, bpm=bpm)
    name = hashlib.sha256(content).hexdigest()[:24] + (".lab" if role == "chords" else ".mid")
    path = folder / name
    if not path.is_file():
        with whole_file(path) as partial:
            partial.write_bytes(content)
    return path


def notes_of_pitch(times_s: np.ndarray, f0_hz: np.ndarray, confidence: np.ndarray) -> list[Note]:
    """The notes of a pitch curve (T,): runs of frames that round to one semitone, 0.08 s or longer."""
    if times_s.size < 2:
        return []
    hop_s = float(np.median(np.diff(times_s)))
    voiced = (confidence >= _VOICED) & (f0_hz > 0) & np.isfinite(f0_hz)
    pitch = np.where(voiced, np.round(12 * np.log2(np.where(voiced, f0_hz, 440.0) / 440.0) + 69), -1)
    edges = np.flatnonzero(np.diff(pitch)) + 1
    notes = []
    for first, end in zip([0, *edges], [*edges, pitch.size], strict=True):
        length_s = (end - first) * hop_s
        if 0 <= pitch[first] <= 127 and length_s >= _SHORTEST_NOTE_S:
            start_s = max(float(times_s[first]) - hop_s / 2, 0.0)
            notes.append(Note(start_s, start_s + length_s, int(pitch[first])))
    return notes


def hits_of_bands(onsets_s: np.ndarray, bands: np.ndarray, frame_rate: float) -> list[DrumHit]:
    """A stroke for each band (T, 4) that rises at an onset (N,), the strongest at least."""
    hits = []
    for time_s in onsets_s:
        frame = min(int(time_s * frame_rate), len(bands) - 1)
        now = bands[frame : frame + 3].max(axis=0)
        before = bands[max(frame - 2, 0) : max(frame - 1, 1)].min(axis=0)
        rise = now - before
        for band, key in enumerate(BAND_KEYS):
            if rise[band] >= max(0.6 * rise.max(), 1e-6) or (rise.max() <= 0 and band == int(now.argmax())):
                velocity = int(np.clip(round(127 * float(now[band])), 1, 127))
                hits.append(DrumHit(float(time_s), key, velocity))
    return hits
