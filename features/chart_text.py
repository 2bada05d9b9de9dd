"""The text of a chord chart -> its lines of chords and bar lines, without titles, lyrics and comments.

Square brackets mean several things to those who write charts: `[Verse]` names a section, `[1.]` is an
ending, `[x2]` plays again, `[Am]` is a chord, as in ChordPro (https://www.chordpro.org), whose directives in
braces are read too.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from features.chord_labels import ChordError, parse_chord
from features.symbols import NotationError

logger = logging.getLogger(__name__)

MIN_BPM, MAX_BPM = 10.0, 400.0
MAX_BEATS_PER_BAR = 32.0
COUNT = re.compile(r"\(?(?:[x×]\s*([0-9]{1,3})|([0-9]{1,3})\s*[x×])\)?(?=\s|$)", re.IGNORECASE)
"""How often something is played: `x3`, `(3x)`."""
ENDING = re.compile(r"\[([0-9][0-9,]*)\]")
"""An ending of a repeat, as `chart_lines` writes it: `[1]` or `[1,2]`."""

_ENDING_IN_BAR = re.compile(
    r"(?<=[^|\s])\s+(?=\[[0-9])"
)  # an ending begins a bar, with a bar line or without
_TIMING = re.compile(
    r"\s*(?:(?P<name>bpm|tempo|metre|meter|time)\s*[:=]|(?:tempo|bpm|♩\s*=)(?=\s*[0-9]))\s*(?P<value>.*)",
    re.IGNORECASE,
)
_TITLE = re.compile(
    r"\s*(?:(?:title|subtitle|key|artist|composer|arranger|author|album|style|tuning|feel|groove|copyright|ccli"
    r"|words|music|lyrics|strumming|difficulty|(?:words|written|arranged|transcribed)\s+by)\s*[:=].*|key\s+of\s.*)",
    re.IGNORECASE,
)
_CAPO = re.compile(r"\s*capo\b.*", re.IGNORECASE)
_COMMENT = re.compile(r"(?:^|\s)#(?:\s.*)?$|^\s*#.*$")
_BRACKETS = re.compile(r"\[([^\[\]|]*)\]")
_DIRECTIVE = re.compile(r"\{\s*([A-Za-z_]+)(?:-[^:}\s]+)?\s*(?:[:\s]\s*(.*?))?\s*\}")
_NUMBER = r"[0-9]{1,2}(?:st|nd|rd|th)?"
_ENDING_TEXT = re.compile(rf"{_NUMBER}(?:\s?[.,&-]\s?{_NUMBER})*\.?\s?(?:(?:ending|time)s?)?", re.IGNORECASE)
# `|1. F :|2. G`, `|1 F :|2 G`
_BARE_ENDING = re.compile(r"(?<=\|)\s*((?:[0-9][.,-]\s*)*[0-9])(?:\.(?=\s|[A-G])|(?=\s+[A-G]))")
_COUNT_TEXT = re.compile(
    r"(?:repeat\s*)?(?:[x×]\s*([0-9]{1,3})|([0-9]{1,3})\s*(?:[x×]|times))", re.IGNORECASE
)
_SECTION_WORD = (
    r"(?:intro(?:duction)?|verse|(?:pre|post)?[-\s]?chorus|bridge|outro|coda|interlude|solo|refrain|hook|break"
    r"|ending|tag|vamp|turnaround|instrumental|head|part|section)"
)
_SECTION_LINE = re.compile(rf"\s*{_SECTION_WORD}\s*[0-9A-Z]?\s*(\(?[^():|]*\)?)\s*:", re.IGNORECASE)
_REHEARSAL_MARK = re.compile(r"[A-H][0-9]?'*")
_MARK_LINE = re.compile(r"\(?[A-H][0-9]?'*\)?:?\s*$")
_GLUED = re.compile(r"\][^\s\[\]|:.]|[^\s\[\]|:.(]\[")  # `[Am]words`, as in ChordPro
_INVISIBLE = str.maketrans({"\u00a0": " ", "\u200b": "", "\ufeff": "", "\u2060": "", '"': " "})
_SPACED_COUNT = re.compile(r"(?<=[\s(\[])([x×])\s+(?=[0-9]{1,3}[)\]]?\s*$)", re.IGNORECASE)
_ARROW = re.compile(r"\s(?:[-–—>→]|->)(?=\s)")
_LIKE_A_CHORD = re.compile(r"[A-G](?:[b#♭♯]|m(?![a-z]{2})|(?:maj|min|dim|aug|sus|add)|[^A-Za-z\s]|$)")
_QUALITY_WORD = (
    r"major|minor|diminished|augmented|suspended|dominant|half[-\s]diminished|added|power|maj|min|dim|aug|sus"
)
_SPELT_OUT = re.compile(
    rf"\b[A-G](?:[b#♭♯]|[\s-]?(?:flat|sharp))?(?:\s+(?:{_QUALITY_WORD}))*"
    r"(?:\s+(?:second|fourth|fifth|sixth|seventh|ninth|eleventh|thirteenth|[0-9]+(?:nd|th)?))?"
    r"(?:\s+(?:flat|sharp)\s+(?:five|nine))?(?=[\s|,]|$)"
)


@dataclass(frozen=True)
class Metre:
    """Tempo in quarter notes a minute; the bar in quarter notes."""

    bpm: float
    beats_per_bar: float

    @property
    def bar_s(self) -> float:
        return self.beats_per_bar * 60.0 / self.bpm


@dataclass(frozen=True)
class ChartLine:
    """Chords and bar lines of one line.

    `section` counts the sections, which are played `section_times`; `number` is the line's in the text, None
    where that has one line alone.
    """

    text: str
    metre: Metre
    section: int
    section_times: int
    number: int | None


def checked_metre(bpm: float, beats_per_bar: float) -> Metre:
    """Return the metre; NotationError for a tempo or a bar that is none."""
    if not MIN_BPM <= bpm <= MAX_BPM:
        raise NotationError(f"bpm must be a number from {MIN_BPM:g} to {MAX_BPM:g}, got {bpm}")
    if not 0 < beats_per_bar <= MAX_BEATS_PER_BAR:
        raise NotationError(
            f"beats_per_bar must be above 0 and at most {MAX_BEATS_PER_BAR:g}, got {beats_per_bar}"
        )
    return Metre(float(bpm), float(beats_per_bar))


def chart_lines(text: str, metre: Metre) -> list[ChartLine]:
    """Lines with music on them, each with the metre that holds there.

    Chords are left without brackets and spelt in one word, endings as `[1,2]`, counts as `x3`.

    Raises:
        NotationError: a header or brackets that cannot be read, or no music at all.
    """
    reader = _Reader(text, metre)
    for i, line in enumerate(reader.written, start=1):
        try:
            reader.read(line, i if len(reader.written) > 1 else None)
        except NotationError as error:
            raise NotationError(f"line {i}: {error}") from error
    if not reader.lines:
        raise NotationError("the chord chart is empty; expected chords such as 'Am | F C | G7'")
    return reader.lines


class _Reader:
    """What was read so far: lines of music, the metre and the section that hold, the last chorus.

    A text with directives, or with words beside chords in brackets, is a song in ChordPro: outside of its
    grids chords stand in brackets, and lines without any are lyrics.
    """

    def __init__(self, text: str, metre: Metre) -> None:
        self.written = [_plain(_COMMENT.sub("", line)) for line in _without_tablature(text)]
        self.lines: list[ChartLine] = []
        self._metre = metre
        self._is_song = any(
            _DIRECTIVE.fullmatch(line) or ("|" not in line and _GLUED.search(line)) for line in self.written
        )
        self._has_bars = any("|" in line and not _GLUED.search(line) for line in self.written)
        self._letters_are_marks = self._has_bars or any(
            line and not _BRACKETS.search(line) and not _DIRECTIVE.match(line) for line in self.written
        )
        self._marks = self._has_bars and _are_marks(self.written)
        self._section, self._times = 0, 1
        self._chorus: list[ChartLine] = []
        self._chorus_start: int | None = None

    def read(self, line: str, number: int | None) -> None:
        if (directive := _DIRECTIVE.fullmatch(line)) is not None:
            self._direct(directive[1].lower(), (directive[2] or "").strip())
            return
        if _CAPO.fullmatch(line):
            logger.warning("%r is not applied: chords are read as they are written", line)
            return
        if (timing := _TIMING.fullmatch(line)) is not None:
            self._metre = _header_metre((timing["name"] or "tempo").lower(), timing["value"], self._metre)
            return
        if _TITLE.fullmatch(line) or (self._marks and _MARK_LINE.fullmatch(line)):
            return
        start = _SECTION_LINE.match(line) or _section_at_start(line, self._letters_are_marks)
        if start is not None:
            rest = line[start.end() :].strip()
            count = COUNT.fullmatch(rest)
            self._start_section(start[1] if count is None else rest)
            line = rest if count is None else ""
        if music := self._music(line):
            self.lines.append(ChartLine(music, self._metre, self._section, self._times, number))

    def _music(self, line: str) -> str:
        """What a line plays, without its words."""
        found = list(_BRACKETS.finditer(line))
        if self._is_song and "|" not in line and not _all_chords(line):
            chords = [text for match in found if (text := _bracketed(match))]
            words = _BRACKETS.sub(" ", line)
            times = [match[0] for match in COUNT.finditer(words) if match.end() == len(words.rstrip())]
            counts = times[-1:] if chords else []
            return " ".join([(" | " if self._has_bars else " ").join(chords), *counts])
        music = _BRACKETS.sub(lambda match: f" {_bracketed(match)} ", line)
        music = _BARE_ENDING.sub(lambda match: f" [{_ending_numbers(match[1])}] ", music)
        music = _ENDING_IN_BAR.sub(" | ", music) if self._has_bars else _ARROW.sub(" ", music)
        music = _SPELT_OUT.sub(lambda match: "".join(match[0].split()), music)
        return " ".join(_without_punctuation(token) for token in music.split())

    def _direct(self, name: str, value: str) -> None:
        """Follow one of ChordPro's directives; those about titles and looks say nothing here."""
        if name in ("tempo", "time"):
            self._metre = _header_metre(name, value, self._metre)
        elif name == "transpose" and value not in ("", "0"):
            raise NotationError(f"'{{transpose: {value}}}' is not applied; expected the chords transposed")
        elif name == "capo":
            logger.warning("'{capo: %s}' is not applied: chords are read as they are written", value)
        elif name in ("start_of_chorus", "soc"):
            self._start_section("")
            self._chorus_start = len(self.lines)
        elif name in ("end_of_chorus", "eoc") and self._chorus_start is not None:
            self._chorus, self._chorus_start = self.lines[self._chorus_start :], None
            self._start_section("")
        elif name == "chorus":
            if not self._chorus:
                raise NotationError("'{chorus}' plays a chorus again, and there is none before it")
            self._start_section("")
            self.lines += [replace(line, section=self._section) for line in self._chorus]
            self._start_section("")

    def _start_section(self, name: str) -> None:
        count = COUNT.search(name)
        self._section += 1
        self._times = 1 if count is None else max(1, int(count[1] or count[2]))


def _without_tablature(text: str) -> Iterator[str]:
    inside = False
    for line in text.splitlines():
        directive = _DIRECTIVE.fullmatch(line.strip())
        if directive is not None and directive[1].lower() in ("start_of_tab", "sot"):
            inside = True
        yield "" if inside else line
        if directive is not None and directive[1].lower() in ("end_of_tab", "eot"):
            inside = False


def _header_metre(name: str, value: str, metre: Metre) -> Metre:
    if name in ("bpm", "tempo"):
        tempo = re.fullmatch(r"([0-9]{1,4}(?:\.[0-9]{1,6})?)\s*(?:bpm)?", value, re.IGNORECASE)
        if tempo is None:
            raise NotationError(f"the chart says '{name}: {value}'; expected a number, such as '{name}: 90'")
        return checked_metre(float(tempo[1]), metre.beats_per_bar)
    if name in ("metre", "meter", "time"):
        match = re.fullmatch(r"([0-9]{1,2})\s*/\s*(1|2|4|8|16|32)", value)
        if match is None or int(match[1]) == 0:
            raise NotationError(f"the chart says '{name}: {value}'; expected a metre such as '{name}: 3/4'")
        return checked_metre(metre.bpm, int(match[1]) * 4 / int(match[2]))
    return metre


def _section_at_start(line: str, letters_are_marks: bool) -> re.Match[str] | None:
    """The brackets at the start of a line that name a section, and not an ending, a count or a chord."""
    match = _BRACKETS.match(line)
    if match is None:
        return None
    name, rest = match[1].strip(), line[match.end() :].strip()
    if _ENDING_TEXT.fullmatch(name) or _COUNT_TEXT.fullmatch(name) or name.startswith("*"):
        return None
    if line[match.end() : match.end() + 1] not in ("", " ", "|"):
        return None  # a word, or another bracket: it is meant as a chord
    if _REHEARSAL_MARK.fullmatch(name):
        before_chords = bool(rest) and _all_chords(rest)
        return match if (letters_are_marks or before_chords) and not _BRACKETS.search(rest) else None
    return None if _is_chord(name) or _LIKE_A_CHORD.match(name) else match


def _are_marks(lines: list[str]) -> bool:
    """Whether letters alone on lines are rehearsal marks: A, B, C ... in order, before other lines."""
    music = [line for line in lines if line]
    alone = [re.sub(r"[^A-H]", "", line) for line in music if _MARK_LINE.fullmatch(line)]
    letters = "".join(dict.fromkeys(alone))
    return bool(letters) and "ABCDEFGH".startswith(letters) and not _MARK_LINE.fullmatch(music[-1])


def _plain(line: str) -> str:
    """A line without characters that nobody sees, and with signs of other notations as ours."""
    line = line.translate(_INVISIBLE).replace("[|", "|").replace("|]", "|").replace("./.", " % ")
    return _SPACED_COUNT.sub(r"\1", line).strip()


def _without_punctuation(token: str) -> str:
    """A chord without what stands around it: `(D-7`, `G7)`, `Am;`; slashes by themselves each hold a beat."""
    if COUNT.fullmatch(token) or ENDING.fullmatch(token):
        return token
    if len(token) > 1 and not token.strip("/"):
        return " ".join(token)
    token = token.rstrip(",;") or token
    while token.startswith("(") and len(token) > 1:
        token = token[1:]
    while token.count(")") > token.count("(") and token.endswith(")"):
        token = token[:-1]
    return token


def _all_chords(line: str) -> bool:
    """Whether all that stands outside of brackets is chords, apart from them, and no lyrics."""
    glued = re.search(r"\][^\s\[]|[^\s\]]\[", line) is not None
    outside = _SPELT_OUT.sub("C", _BRACKETS.sub(" ", line)).split()
    return not glued and all(
        _is_chord(token) or token in (".", "/", "%") or COUNT.match(token) for token in outside
    )


def _bracketed(match: re.Match[str]) -> str:
    """What brackets in a line of music say: an ending, a count or a chord; an annotation says nothing."""
    text = match[1].strip()
    if (count := _COUNT_TEXT.fullmatch(text)) is not None:
        return f"x{count[1] or count[2]}"
    if _ENDING_TEXT.fullmatch(text) is not None:
        return f"[{_ending_numbers(text)}]"
    if text.startswith("*"):
        return ""
    tokens = _SPELT_OUT.sub(lambda spelt: "".join(spelt[0].split()), text).split()
    if tokens and all(_is_chord(token) for token in tokens):
        return " ".join(tokens)
    raise NotationError(
        f"'[{text}]' is no chord, no ending such as [1.] and no count such as [x2]; "
        "the name of a section stands at the start of its line"
    )


def _ending_numbers(text: str) -> str:
    """'1.' -> '1', '1-3.' -> '1,2,3'."""
    plain = re.sub(r"(?i)st|nd|rd|th|ending|times?|s|\s", "", text).replace("&", ",")
    numbers: list[int] = []
    for first, last in re.findall(r"([0-9]+)(?:-([0-9]+))?", plain):
        numbers += range(int(first), int(last or first) + 1)
    return ",".join(str(number) for number in numbers)


def _is_chord(text: str) -> bool:
    try:
        parse_chord(text.strip())
    except ChordError:
        return False
    return True
