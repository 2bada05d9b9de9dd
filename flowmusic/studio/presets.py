"""Sessions to start from, as changes of a new one."""

from __future__ import annotations

from typing import Any

from features.chord_chart import parse_chord_chart
from flowmusic.studio.lanes import Lane, items


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

PRESETS: list[dict[str, Any]] = [
    {
        "name": "Calm piano trio",
        "session": {
            "duration": 10.6667,
            "bpm": 90.0,
            "request": {"text": "a calm piano trio, relaxed"},
            "lanes": {"chords": _chords("Am | F | C | G7", 90.0)},
        },
    },
    {
        "name": "Rock beat in E minor",
        "session": {
            "duration": 8.0,
            "bpm": 120.0,
            "request": {"text": "energetic rock with electric guitars"},
            "lanes": {"chords": _chords("Em | C | G | D", 120.0), "drums": _beat(_ROCK, 120.0, 4)},
        },
    },
    {
        "name": "House loop",
        "session": {
            "duration": 7.7419,
            "bpm": 124.0,
            "request": {"text": "deep house with warm synth chords", "loop": True},
            "lanes": {"chords": _chords("Dm7 | Dm7 | Bbmaj7 | C", 124.0), "drums": _beat(_HOUSE, 124.0, 4)},
        },
    },
    {"name": "From a text alone", "session": {"duration": 10.0, "request": {"text": "a slow sad waltz"}}},
]
