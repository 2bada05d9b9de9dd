"""Standard MIDI files -> their events, as leniently as they are written.

By hand, because what mido does not know ends it: a nonsense key signature, an unknown chunk, a wrong length
of a track, and it does not say where. (pretty_midi, on top of it, splits a track by channels and programs.)
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import pairwise

_DATA_BYTES = {0x8: 2, 0x9: 2, 0xA: 2, 0xB: 2, 0xC: 1, 0xD: 1, 0xE: 2}
_SYSTEM_BYTES = {0xF1: 1, 0xF2: 2, 0xF3: 1}
_END_OF_TRACK, _TRACK_NAME, _INSTRUMENT_NAME, _TEMPO = 0x2F, 0x03, 0x04, 0x51
NOTE_OFF, NOTE_ON, CONTROL, PROGRAM, BEND = 0x8, 0x9, 0xB, 0xC, 0xE
_MAX_EVENTS = 500_000
_DEFAULT_TEMPO_US = 500_000
_MAX_TEXT = 200


class SmfError(ValueError):
    """Bytes that are no standard MIDI file; the message says what is wrong and where."""


@dataclass(frozen=True)
class ChannelEvent:
    """A channel message: `message` is the high half of its status byte (9: note on), data are 0..127."""

    tick: int
    message: int
    channel: int
    first: int
    second: int


@dataclass
class SmfTrack:
    """One track chunk: its channel messages in order, its name, its last tick, and its tempi.

    tempi: ticks, and microseconds a quarter note from there on.
    """

    events: list[ChannelEvent] = field(default_factory=list)
    name: str = ""
    end_tick: int = 0
    tempi: list[tuple[int, int]] = field(default_factory=list)

    @property
    def has_notes(self) -> bool:
        return any(event.message == NOTE_ON and event.second for event in self.events)


@dataclass(frozen=True)
class Smf:
    """A file: format 0 has one track of all channels, 1 several that sound together, 2 several sequences."""

    format: int
    tracks: list[SmfTrack]
    division: int

    def clock(self, track: SmfTrack) -> Clock:
        """The clock of a track: all tracks that sound together have one, by the tempi of them all."""
        together = [track] if self.format == 2 else self.tracks
        return Clock(self.division, [tempo for item in together for tempo in item.tempi])


class Clock:
    """Ticks -> seconds, by the division of the file and the tempi of all its tracks."""

    def __init__(self, division: int, tempi: list[tuple[int, int]]) -> None:
        if division & 0x8000:  # SMPTE: frames a second, ticks a frame; tempi say nothing
            frames = 256 - (division >> 8)
            tempi, quarter_s = [], (division & 0xFF) * (30_000 / 1001 if frames == 29 else frames)
            self._seconds_per_tick = [1.0 / quarter_s]
        else:
            changes = dict([(0, _DEFAULT_TEMPO_US), *sorted(tempi, key=lambda item: item[0])])
            tempi = sorted(changes.items())
            self._seconds_per_tick = [micros / 1e6 / division for _, micros in tempi]
        self._ticks = [tick for tick, _ in tempi] or [0]
        self._seconds = [0.0]
        for (start, end), per_tick in zip(pairwise(self._ticks), self._seconds_per_tick, strict=False):
            self._seconds.append(self._seconds[-1] + (end - start) * per_tick)

    def seconds(self, tick: int) -> float:
        """When a tick is."""
        index = bisect_right(self._ticks, tick) - 1
        return self._seconds[index] + (tick - self._ticks[index]) * self._seconds_per_tick[index]


def read_smf(data: bytes) -> Smf:
    """Read a standard MIDI file, also one in a RIFF wrapper (.rmi).

    Chunks of other kinds are passed over; a track ends at its end-of-track event, whatever its length says.

    Raises:
        SmfError: says what is wrong, and at which track and byte.
    """
    if data[:4] == b"RIFF" and data[8:12] == b"RMID":
        data = data[data.find(b"MThd") :] if b"MThd" in data else b""
    if data[:4] != b"MThd":
        raise SmfError("it does not begin with 'MThd'")
    if len(data) < 14:
        raise SmfError("it is cut short within its header")
    form, _, division = (int.from_bytes(data[i : i + 2], "big") for i in (8, 10, 12))
    if form > 2:
        raise SmfError(f"its header says format {form}; expected 0 to 2")
    if division == 0 or (division & 0x8000 and division & 0xFF == 0):
        raise SmfError("its header says that a quarter note, or a frame, has no ticks")
    tracks: list[SmfTrack] = []
    position = 8 + max(6, int.from_bytes(data[4:8], "big"))
    while position + 8 <= len(data):
        name, length = data[position : position + 4], int.from_bytes(data[position + 4 : position + 8], "big")
        start = position + 8
        if name != b"MTrk":
            following = data.find(b"MTrk", position + 1)
            position = start + length if start + length <= len(data) or following < 0 else following
            continue
        reader = _TrackReader(data, start, start + length, len(tracks) + 1)
        position = reader.read()
        tracks.append(reader.track)
        if sum(len(track.events) for track in tracks) > _MAX_EVENTS:
            raise SmfError(f"it has more than {_MAX_EVENTS} events, too many for a song")
    if not tracks:
        raise SmfError("it has no tracks")
    return Smf(form, tracks, division)


class _TrackReader:
    """Reads one track chunk.

    Its events end where the chunk does, if another chunk or the end of the file follows there; a length that
    says something else is wrong, and they end at the end-of-track event.
    """

    def __init__(self, data: bytes, start: int, end: int, number: int) -> None:
        self.data, self.position, self.number = data, start, number
        self.track = SmfTrack()
        self._right = end == len(data) or self._chunk_at(end)
        self.end = end if self._right else len(data)
        self.cut = end > len(data)

    def read(self) -> int:
        """Read all events; gives the position of what follows them."""
        tick, status = 0, 0
        while self.position < self.end:
            tick += self._length()
            self.track.end_tick = tick
            byte = self._byte()
            if byte == 0xFF:
                meta_type, content = self._byte(), self._bytes(self._length())
                if meta_type == _END_OF_TRACK:
                    return self._after_the_end()
                self._meta(tick, meta_type, content)
            elif byte in (0xF0, 0xF7):
                self._bytes(self._length())
            elif byte in _SYSTEM_BYTES:
                self._bytes(_SYSTEM_BYTES[byte])
            elif byte < 0xF0:
                if byte >= 0x80:
                    status, first = byte, self._data_byte()
                elif status:
                    first = byte  # running status
                else:
                    raise self._error(f"an event begins with {byte}; expected a status of 128 or more")
                second = self._data_byte() if _DATA_BYTES[status >> 4] == 2 else 0
                self.track.events.append(ChannelEvent(tick, status >> 4, status & 15, first, second))
        if self.cut:
            raise self._error("it is cut short: the track goes on beyond the end of the file")
        return self.end

    def _after_the_end(self) -> int:
        """Where the next chunk begins: where the length says, or else as soon as one is found."""
        if self._right:
            return max(self.position, self.end)
        following = self.data.find(b"MTrk", self.position)
        return len(self.data) if following < 0 else following

    def _chunk_at(self, position: int) -> bool:
        return position < len(self.data) and self.data[position : position + 4].isalnum()

    def _meta(self, tick: int, meta_type: int, content: bytes) -> None:
        if meta_type == _TEMPO and len(content) == 3 and any(content):
            self.track.tempi.append((tick, int.from_bytes(content, "big")))
        elif meta_type in (_TRACK_NAME, _INSTRUMENT_NAME) and (
            meta_type == _TRACK_NAME or not self.track.name
        ):
            self.track.name = _text(content) or self.track.name

    def _byte(self) -> int:
        return self._bytes(1)[0]

    def _data_byte(self) -> int:
        byte = self._byte()
        if byte > 127:
            raise self._error(f"data of {byte} in an event; expected 0 to 127")
        return byte

    def _bytes(self, n: int) -> bytes:
        if self.position + n > len(self.data):
            raise self._error("it is cut short: an event goes on beyond the end of the file")
        self.position += n
        return self.data[self.position - n : self.position]

    def _length(self) -> int:
        """A number of variable length: seven bits a byte, at most four bytes."""
        value = 0
        for _ in range(4):
            byte = self._byte()
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                return value
        raise self._error("a time or a length has more than four bytes")

    def _error(self, what: str) -> SmfError:
        return SmfError(f"track {self.number}, byte {self.position}: {what}")


def _text(content: bytes) -> str:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return " ".join("".join(c if c.isprintable() else " " for c in text[:_MAX_TEXT]).split())
