"""Chord charts, as they are typed: `Am | F C | G7 Csus4` or `C:maj@0 A:min@2.5` -> chord segments."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from features.chord_labels import ChordError, ChordSegment, merge_segments, parse_chord
from features.symbols import NotationError

MIN_BPM, MAX_BPM = 10.0, 400.0
MAX_BEATS_PER_BAR = 32.0
MAX_BARS = 10_000
MAX_DURATION_S = 36_000.0
_BAR_LINE = re.compile(r":\|\|:|:\|:|:\|\|?|\|\|?:|\|\|?")
_REPEAT_COUNT = re.compile(r"\(?(?:[x×]\s*([0-9]{1,3})|([0-9]{1,3})\s*[x×])\)?(?:\s+|$)")
_HEADER = re.compile(
    r"\s*(bpm|tempo|metre|meter|time|title|key|artist|composer|style)\s*[:=]\s*(.*)", re.IGNORECASE
)
_SECTION = re.compile(r"\[[^\[\]|]*\]")
_COMMENT = re.compile(r"(?:^|\s)#(?:\s.*)?$|^\s*#.*$")
_TIMED = re.compile(r"(?P<label>.+)@(?P<time>[^@]*)")
_HOLD, _REPEAT_BAR = (".", "/"), "%"


@dataclass(frozen=True)
class _Metre:
    """Tempo in quarter notes a minute; the bar in quarter notes."""

    bpm: float
    beats_per_bar: float

    @property
    def bar_s(self) -> float:
        return self.beats_per_bar * 60.0 / self.bpm


@dataclass(frozen=True)
class _Bar:
    """Labels that share the bar's time equally."""

    labels: tuple[str, ...]
    duration_s: float


def parse_chord_chart(
    text: str,
    bpm: float = 120.0,
    beats_per_bar: float = 4,
    duration_s: float | None = None,
    loop: bool = True,
) -> tuple[ChordSegment, ...]:
    """Read a chord chart.

    Bars: `Am | F C | G7 . . Csus4`; the chords of a bar share it equally, `.` or `/` holds the
    chord for a further slot, `%` repeats the bar before, `|: ... :|` plays twice (`:| x3`: three
    times), a new line ends a bar. With no bar line anywhere each chord fills a bar. Lines
    `bpm: 90` and `metre: 3/4` hold from there on; `[Verse]`, `# comment` and title lines are
    passed over.
    Timed: `C:maj@0 A:min@2.5 N@10`, in seconds; the last chord lasts to `duration_s`, or a bar.

    Args:
        bpm: quarter notes a minute, 10 to 400.
        beats_per_bar: quarter notes a bar (6/8 has 3).
        duration_s: cut there; a chart with bars that is shorter starts again if `loop`.

    Returns:
        Segments in order of time, equal neighbours joined, labels in Harte's syntax.

    Raises:
        NotationError: says which bar (counted from 1, as written) and why.
    """
    metre = _checked_metre(bpm, beats_per_bar)
    if duration_s is not None and not 0 < duration_s <= MAX_DURATION_S:
        raise NotationError(f"duration_s must be above 0 and at most {MAX_DURATION_S:g} s, got {duration_s}")
    lines = [(line, metre) for line, metre in _lines(text, metre)]
    if any("@" in line for line, _ in lines):
        return _timed_segments(lines, duration_s)
    segments = tuple(_played(_unrolled(lines)))
    if duration_s is None:
        return merge_segments(segments)
    return merge_segments(tuple(_fitted(segments, duration_s, loop)))


def _checked_metre(bpm: float, beats_per_bar: float) -> _Metre:
    if not MIN_BPM <= bpm <= MAX_BPM:
        raise NotationError(f"bpm must be a number from {MIN_BPM:g} to {MAX_BPM:g}, got {bpm}")
    if not 0 < beats_per_bar <= MAX_BEATS_PER_BAR:
        raise NotationError(
            f"beats_per_bar must be above 0 and at most {MAX_BEATS_PER_BAR:g}, got {beats_per_bar}"
        )
    return _Metre(float(bpm), float(beats_per_bar))


def _lines(text: str, metre: _Metre) -> Iterator[tuple[str, _Metre]]:
    """Lines with music on them, each with the metre that holds there."""
    found = False
    for raw in text.splitlines():
        line = _SECTION.sub(" ", _COMMENT.sub("", raw)).strip()
        header = _HEADER.fullmatch(line)
        if header is not None:
            metre = _header_metre(header[1].lower(), header[2].strip(), metre)
        elif line:
            found = True
            yield line, metre
    if not found:
        raise NotationError("the chord chart is empty; expected chords such as 'Am | F C | G7'")


def _header_metre(name: str, value: str, metre: _Metre) -> _Metre:
    if name in ("bpm", "tempo"):
        if re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,6})?", value) is None:
            raise NotationError(f"the chart says '{name}: {value}'; expected a number, such as '{name}: 90'")
        return _checked_metre(float(value), metre.beats_per_bar)
    if name in ("metre", "meter", "time"):
        match = re.fullmatch(r"([0-9]{1,2})\s*/\s*(1|2|4|8|16|32)", value)
        if match is None or int(match[1]) == 0:
            raise NotationError(f"the chart says '{name}: {value}'; expected a metre such as '{name}: 3/4'")
        return _checked_metre(metre.bpm, int(match[1]) * 4 / int(match[2]))
    return metre


def _cells(line: str) -> Iterator[tuple[str, str]]:
    """Pairs of what stands between two bar lines and the bar line after it ('' at the line's end)."""
    position = 0
    for match in _BAR_LINE.finditer(line):
        yield line[position : match.start()].strip(), match.group()
        position = match.end()
    yield line[position:].strip(), ""


class _Roll:
    """Bars as they are played: repeats are written out as the chart is read."""

    def __init__(self) -> None:
        self.written = 0
        self.bars: list[_Bar] = []
        self._section = 0  # where a repeat that ends now began
        self._open = False
        self._previous: _Bar | None = None

    def where(self) -> str:
        return f"bar {self.written}"

    def add(self, cell: str, metre: _Metre) -> None:
        self.written += 1
        self._previous = _read_bar(cell, self._previous, metre, self.where())
        self.bars.append(self._previous)
        self._check_length()

    def open_repeat(self) -> None:
        if self._open:
            raise NotationError(
                f"bar {self.written + 1}: '|:' stands inside another repeat; expected ':|' first"
            )
        self._open, self._section = True, len(self.bars)

    def close_repeat(self, times: int) -> None:
        repeated = self.bars[self._section :]
        if not repeated:
            raise NotationError(f"{self.where()}: ':|' has no bar to repeat")
        if times < 1:
            raise NotationError(f"{self.where()}: a repeat must be played at least once, got x{times}")
        self.bars += repeated * (times - 1)
        self._check_length()
        self._open, self._section = False, len(self.bars)

    def finish(self) -> list[_Bar]:
        if self._open:
            raise NotationError(f"{self.where()}: the chart ends inside a repeat; expected ':|'")
        if not self.bars:
            raise NotationError("the chord chart has bar lines but no chords; expected 'Am | F C | G7'")
        return self.bars

    def _check_length(self) -> None:
        if len(self.bars) > MAX_BARS:
            raise NotationError(f"{self.where()}: the chart is longer than {MAX_BARS} bars")


def _unrolled(lines: list[tuple[str, _Metre]]) -> list[_Bar]:
    """All bars in playing order."""
    roll = _Roll()
    has_bars = any("|" in line for line, _ in lines)
    for line, metre in lines:
        if not has_bars:
            for token in line.split():
                roll.add(token, metre)
            continue
        before = ""
        for cell, bar_line in _cells(line):
            if before.startswith(":|"):
                count = _REPEAT_COUNT.match(cell)
                roll.close_repeat(2 if count is None else int(count[1] or count[2]))
                cell = cell if count is None else cell[count.end() :]
            if before.endswith("|:"):
                roll.open_repeat()
            if cell:
                roll.add(cell, metre)
            elif before == bar_line == "|":
                raise NotationError(
                    f"bar {roll.written + 1}: it is empty; write % to repeat a bar, N.C. for no chord"
                )
            before = bar_line
    return roll.finish()


def _read_bar(cell: str, previous: _Bar | None, metre: _Metre, where: str) -> _Bar:
    tokens = cell.split()
    if tokens == [_REPEAT_BAR]:
        if previous is None:
            raise NotationError(f"{where}: '%' repeats the bar before, and there is none")
        return replace(previous, duration_s=metre.bar_s)
    last = previous.labels[-1] if previous is not None else None
    labels: list[str] = []
    for token in tokens:
        if token == _REPEAT_BAR:
            raise NotationError(
                f"{where} ({_shown(cell)}): '%' repeats a whole bar; expected it alone in its bar"
            )
        if token not in _HOLD:
            last = _label(token, f"{where} ({_shown(cell)})")
        elif last is None:
            raise NotationError(
                f"{where} ({_shown(cell)}): {token!r} holds a chord, and there is none before it"
            )
        labels.append(last)
    return _Bar(tuple(labels), metre.bar_s)


def _label(token: str, where: str) -> str:
    try:
        return parse_chord(token).label
    except ChordError as error:
        raise NotationError(f"{where}: {error}") from error


def _shown(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}…"


def _played(bars: list[_Bar]) -> Iterator[ChordSegment]:
    start_s = 0.0
    for bar in bars:
        slot_s = bar.duration_s / len(bar.labels)
        for i, label in enumerate(bar.labels):
            yield ChordSegment(start_s + i * slot_s, start_s + (i + 1) * slot_s, label)
        start_s += bar.duration_s


def _fitted(segments: tuple[ChordSegment, ...], duration_s: float, loop: bool) -> Iterator[ChordSegment]:
    """The chart from its start, again and again if `loop`, cut at `duration_s`."""
    length_s = segments[-1].end_s
    rounds = math.ceil(duration_s / length_s - 1e-9) if loop else 1
    for offset_s in (i * length_s for i in range(max(rounds, 1))):
        for segment in segments:
            start_s, end_s = segment.start_s + offset_s, min(segment.end_s + offset_s, duration_s)
            if end_s - start_s > 1e-9:
                yield ChordSegment(start_s, end_s, segment.label)


def _timed_segments(lines: list[tuple[str, _Metre]], duration_s: float | None) -> tuple[ChordSegment, ...]:
    """Chords with their times; the last lasts to `duration_s`, or a bar where that is not given."""
    starts: list[tuple[float, str]] = []
    for raw in " ".join(line for line, _ in lines).replace("|", " ").split():
        token = raw.rstrip(",;")
        where = f"chord {len(starts) + 1} ({_shown(token)})"
        match = _TIMED.fullmatch(token)
        if match is None:
            raise NotationError(
                f"{where}: expected chord@seconds, such as 'A:min@2.5', for every chord of a timed chart"
            )
        if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{0,9})?|\.[0-9]{1,9}", match["time"]) is None:
            raise NotationError(f"{where}: {match['time']!r} is not a time in seconds, such as 2.5")
        time_s = float(match["time"])
        if starts and time_s <= starts[-1][0]:
            raise NotationError(
                f"{where}: its time must be later than the {starts[-1][0]:g} s of the chord before it"
            )
        starts.append((time_s, _label(match["label"], where)))
    if not starts:
        raise NotationError("the timed chord chart is empty; expected chords such as 'C:maj@0 A:min@2.5'")
    end_s = starts[-1][0] + lines[-1][1].bar_s if duration_s is None else duration_s
    if starts[0][0] >= end_s:
        raise NotationError(f"the first chord starts at {starts[0][0]:g} s, after the end at {end_s:g} s")
    ends = [time_s for time_s, _ in starts[1:]] + [end_s]
    kept = (
        (start, min(end, end_s), label)
        for (start, label), end in zip(starts, ends, strict=True)
        if start < end_s
    )
    return merge_segments(tuple(ChordSegment(*fields) for fields in kept))
