"""The lines of a chord chart -> its bars as they are played, with repeats and endings written out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from features.chart_text import COUNT, ENDING, ChartLine, Metre
from features.chord_labels import ChordError, parse_chord
from features.symbols import NotationError
from features.text_files import shortened

MAX_BARS = 10_000
_BAR_LINE = re.compile(r":\|\|:|:\|:|:\|\|?|\|\|?:|\|\|?")
_JUMP = re.compile(r"d\.?[cs]\.?|(?:da|dal|al|to|fine|coda|segno|capo)\.?", re.IGNORECASE)
_HOLD, _REPEAT_BAR = (".", "/", "-", "–"), "%"


@dataclass(frozen=True)
class Bar:
    """Labels that share the bar's time equally."""

    labels: tuple[str, ...]
    duration_s: float


def played_bars(lines: Sequence[ChartLine]) -> list[Bar]:
    """All bars in playing order; with no bar line anywhere each chord fills a bar.

    Raises:
        NotationError: says which bar (counted from 1, as written) and why.
    """
    roll = _Roll()
    has_bars = any("|" in line.text for line in lines)
    section = 0
    for line in lines:
        if line.section != section:
            roll.end_section()
            section = line.section
            roll.start_section(line.section_times)
        roll.line = line.number
        if has_bars:
            _read_line(roll, line)
        else:
            _read_bare_chords(roll, line)
    return roll.finish()


def _read_line(roll: _Roll, line: ChartLine) -> None:
    start = len(roll.bars)
    before = ""
    for cell, bar_line in _cells(line.text):
        if before.startswith(":|"):
            count = COUNT.match(cell)
            roll.close_repeat(2 if count is None else int(count[1] or count[2]))
            cell = cell if count is None else cell[count.end() :].strip()
            start = len(roll.bars)
        if before.endswith("|:"):
            roll.open_repeat()
        if (ending := ENDING.match(cell)) is not None:
            roll.open_ending([int(number) for number in ending[1].split(",")])
            cell = cell[ending.end() :].strip()
            ended = True
        else:
            ended = False
        count = _count_at_end(cell) if bar_line == "" else None
        cell = cell if count is None else cell[: count.start()].strip()
        if cell:
            roll.add(cell, line.metre)
        elif before == bar_line == "|" and not ended:
            raise NotationError(
                f"{roll.where(roll.written + 1)}: it is empty; write % to repeat a bar, N.C. for no chord"
            )
        if count is not None:
            roll.repeat_from(start, int(count[1] or count[2]))
        before = bar_line


def _read_bare_chords(roll: _Roll, line: ChartLine) -> None:
    start = len(roll.bars)
    tokens = line.text.split()
    for i, token in enumerate(tokens):
        count = COUNT.fullmatch(token)
        if count is not None and i == len(tokens) - 1:
            roll.repeat_from(start, int(count[1] or count[2]))
        elif ENDING.fullmatch(token):
            where = roll.where(roll.written + 1)
            raise NotationError(
                f"{where}: an ending {token} needs a repeat, such as '|: C |[1.] F :|[2.] G |'"
            )
        else:
            roll.add(token, line.metre)


def _cells(line: str) -> Iterator[tuple[str, str]]:
    """Pairs of what stands between two bar lines and the bar line after it ('' at the line's end)."""
    position = 0
    for match in _BAR_LINE.finditer(line):
        yield line[position : match.start()].strip(), match.group()
        position = match.end()
    yield line[position:].strip(), ""


def _count_at_end(cell: str) -> re.Match[str] | None:
    return next((match for match in COUNT.finditer(cell) if match.end() == len(cell)), None)


@dataclass
class _Ending:
    """An ending that is being read: of a body of bars, in the passes `numbers`, from `start` on."""

    body: list[Bar]
    numbers: list[int]
    start: int


class _Roll:
    """Bars as they are played: repeats are written out as the chart is read."""

    def __init__(self) -> None:
        self.written = 0
        self.line: int | None = None  # which line of the text is being read
        self.bars: list[Bar] = []
        self._repeat_start = 0  # where a repeat that ends now began
        self._open = False
        self._ending: _Ending | None = None
        self._closed_ending: _Ending | None = None  # ':|' ended it; the next one may follow
        self._section: tuple[int, int] = (0, 1)  # where it began, how often it is played
        self._previous: Bar | None = None

    def where(self, bar: int | None = None) -> str:
        """The bar that was read last, or another, for messages."""
        line = "" if self.line is None else f"line {self.line}, "
        return f"{line}bar {self.written if bar is None else bar}"

    def add(self, cell: str, metre: Metre) -> None:
        self._settle()
        self.written += 1
        self._previous = _read_bar(cell, self._previous, metre, self.where())
        self.bars.append(self._previous)
        self._check_length()

    def open_repeat(self) -> None:
        self._settle()
        if self._open and self._ending is None:
            raise NotationError(
                f"{self.where(self.written + 1)}: '|:' stands inside another repeat; expected ':|' first"
            )
        self._open, self._ending, self._repeat_start = True, None, len(self.bars)

    def close_repeat(self, times: int) -> None:
        self._settle()
        if times < 1:
            raise NotationError(f"{self.where()}: a repeat must be played at least once, got x{times}")
        if self._ending is not None:
            self._closed_ending, self._ending = self._ending, None
            self._open = False
            return
        repeated = self.bars[self._repeat_start :]
        if not repeated:
            raise NotationError(f"{self.where()}: ':|' has no bar to repeat")
        self.bars += repeated * (times - 1)
        self._check_length()
        self._open, self._repeat_start = False, len(self.bars)

    def open_ending(self, numbers: list[int]) -> None:
        """`|: body |[1.] ... :|[2.] ... |`: the body is played before each ending."""
        closed, self._closed_ending = self._closed_ending, None
        expected = 1 if closed is None else closed.numbers[-1] + 1
        if not numbers or numbers != list(range(expected, expected + len(numbers))):
            shown = ",".join(str(number) for number in numbers)
            raise NotationError(
                f"{self.where(self.written + 1)}: ending [{shown}.] where ending [{expected}.] is next"
            )
        if closed is None:
            body = self.bars[self._repeat_start :]
        else:
            body = closed.body
            self._play_again(closed)
            self.bars += body
            self._check_length()
        self._ending = _Ending(body, numbers, len(self.bars))

    def repeat_from(self, start: int, times: int) -> None:
        """Play all from bar `start` on `times` times: the line, or the section."""
        if times < 1 or not self.bars[start:]:
            raise NotationError(f"{self.where()}: x{times} has nothing to repeat")
        self.bars += self.bars[start:] * (times - 1)
        self._check_length()

    def start_section(self, times: int) -> None:
        self._section = (len(self.bars), times)

    def end_section(self) -> None:
        self._settle()
        start, times = self._section
        if times > 1 and self.bars[start:]:
            self.repeat_from(start, times)
        self._section = (len(self.bars), 1)

    def finish(self) -> list[Bar]:
        self.end_section()
        if self._open and self._ending is None:
            raise NotationError(f"{self.where()}: the chart ends inside a repeat; expected ':|'")
        if not self.bars:
            raise NotationError("the chord chart has bar lines but no chords; expected 'Am | F C | G7'")
        return self.bars

    def _settle(self) -> None:
        """Something else than a further ending follows a repeat with endings.

        After a first ending alone the body is played once more, and the music goes on; others end the repeat.
        """
        closed, self._closed_ending = self._closed_ending, None
        if closed is None:
            return
        self._play_again(closed)
        if closed.numbers[0] == 1:
            self.bars += closed.body
        self._check_length()
        self._repeat_start = len(self.bars)

    def _play_again(self, ending: _Ending) -> None:
        """An ending of several passes is played in each of them."""
        self.bars += (ending.body + self.bars[ending.start :]) * (len(ending.numbers) - 1)

    def _check_length(self) -> None:
        if len(self.bars) > MAX_BARS:
            raise NotationError(f"{self.where()}: the chart is longer than {MAX_BARS} bars")


def _read_bar(cell: str, previous: Bar | None, metre: Metre, where: str) -> Bar:
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
                f"{where} ({shortened(cell, 40)}): '%' repeats a whole bar; expected it alone in its bar"
            )
        if COUNT.fullmatch(token):
            raise NotationError(
                f"{where} ({shortened(cell, 40)}): {token} is expected at the end of a line, or after ':|'"
            )
        if ENDING.fullmatch(token):
            raise NotationError(
                f"{where} ({shortened(cell, 40)}): the ending {token} is expected at the start of a bar"
            )
        if _JUMP.fullmatch(token):
            raise NotationError(
                f"{where} ({shortened(cell, 40)}): jumps are not played; expected the bars written out"
            )
        if token not in _HOLD:
            last = chord_label(token, f"{where} ({shortened(cell, 40)})")
        elif last is None:
            raise NotationError(
                f"{where} ({shortened(cell, 40)}): {token!r} holds a chord, and there is none before it"
            )
        labels.append(last)
    return Bar(tuple(labels), metre.bar_s)


def chord_label(token: str, where: str) -> str:
    """The canonical label of a chord symbol; NotationError, with the place, for what is none."""
    try:
        return parse_chord(token).label
    except ChordError as error:
        raise NotationError(f"{where}: {error}") from error
