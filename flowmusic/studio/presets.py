"""Sessions to start from, as changes of a new one."""

from __future__ import annotations

from typing import Any

from features.chord_chart import parse_chord_chart
from flowmusic.studio.lanes import LANES, Lane, items
from flowmusic.studio.session import FRESH_USE


def _chords(chart: str, bpm: float, beats_per_bar: float = 4.0) -> Lane:
    return items("chords", parse_chord_chart(chart, bpm, beats_per_bar))


def _beat(pattern: dict[int, tuple[float, ...]], bpm: float, n_bars: int) -> Lane:
    """Strokes of each key at some beats of a bar of four."""
    beat_s = 60.0 / bpm
    hits = [
        {"time": round((bar * 4 + beat) * beat_s, 4), "midi": key, "velocity": 100}
        for bar in range(n_bars)
        for key, beats in pattern.items()
        for beat in beats
    ]
    return sorted(hits, key=lambda hit: (hit["time"], hit["midi"]))


_ROCK = {36: (0.0, 2.0, 2.5), 38: (1.0, 3.0), 42: tuple(i / 2 for i in range(8))}
_HOUSE = {36: (0.0, 1.0, 2.0, 3.0), 38: (1.0, 3.0), 42: (0.5, 1.5, 2.5, 3.5)}


def _preset(
    name: str, text: str, bpm: float, n_bars: int, beats: float = 4.0, loop: bool = False, **lanes: Lane
) -> dict[str, Any]:
    """A preset of so many bars of so many beats; it replaces all lanes, and how they are used."""
    session = {
        "duration": round(n_bars * beats * 60 / bpm, 4),
        "bpm": bpm,
        "beats_per_bar": beats,
        "request": {"text": text, "loop": loop or None},
        "lanes": {role: lanes.get(role, []) for role in LANES},
        "use": {role: dict(FRESH_USE) for role in LANES},
    }
    return {"name": name, "session": session}


PRESETS: list[dict[str, Any]] = [
    _preset(
        "Calm piano trio", "a calm piano trio, relaxed", 90.0, 4, chords=_chords("Am | F | C | G7", 90.0)
    ),
    _preset(
        "Rock beat in E minor",
        "energetic rock with electric guitars",
        120.0,
        4,
        chords=_chords("Em | C | G | D", 120.0),
        drums=_beat(_ROCK, 120.0, 4),
    ),
    _preset(
        "House loop",
        "deep house with warm synth chords",
        124.0,
        4,
        loop=True,
        chords=_chords("Dm7 | Dm7 | Bbmaj7 | C", 124.0),
        drums=_beat(_HOUSE, 124.0, 4),
    ),
    _preset("From a text alone", "a slow sad waltz", 90.0, 5, beats=3.0),
]
