"""Files of chunks (WAV, RF64, AIFF, CAF, W64) and AU: where their sound lies, and how long they say it is."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Bytes = bytes | mmap.mmap

_UNKNOWN_LENGTH = 0x7F000000
"""Programs that write to a pipe do not know the length, and say at least so many bytes."""
_SLACK = 4096
"""So many bytes behind the sound may be anything: padding, a tag that is no chunk."""
_TAIL = 2**20
_W64 = bytes.fromhex("f3acd3118cd100c04f8edb8a")
_FLAC = b"fLaC\0\0\0\x22"  # and its first block, which tells the format
_TAGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICSBEGIN")
_CHUNKS_BEHIND = (b"LIST", b"id3 ", b"ID3 ", b"bext", b"cue ", b"iXML", b"smpl", b"fact", b"_PMX", b"JUNK")


@dataclass(frozen=True)
class _Layout:
    head: int
    id_length: int
    size_length: int
    order: Literal["little", "big"]
    align: int
    sound: bytes
    size_counts_header: bool = False


_RIFF = _Layout(12, 4, 4, "little", 2, b"data")
_AIFF = _Layout(12, 4, 4, "big", 2, b"SSND")
_LAYOUTS = {
    (b"RIFF", b"WAVE"): _RIFF,
    (b"RF64", b"WAVE"): _RIFF,
    (b"RIFX", b"WAVE"): _Layout(12, 4, 4, "big", 2, b"data"),
    (b"FORM", b"AIFF"): _AIFF,
    (b"FORM", b"AIFC"): _AIFF,
}
_AU = _Layout(0, 4, 4, "big", 1, b"")
_CAF = _Layout(8, 4, 8, "big", 1, b"data")
_W64_LAYOUT = _Layout(40, 16, 8, "little", 8, b"data" + _W64, size_counts_header=True)


@dataclass(frozen=True)
class SoundChunk:
    """The bytes of sound from `start` to `end`, and how many the header says there are.

    `declared` is None where the header says that the length is not known.
    """

    start: int
    end: int
    declared: int | None
    size_at: int
    layout: _Layout

    @property
    def n_bytes(self) -> int:
        return self.end - self.start

    @property
    def is_cut(self) -> bool:
        return self.declared is not None and self.declared > self.n_bytes / 0.98

    @property
    def is_understated(self) -> bool:
        """Whether there is more sound than the header says, as where a recorder was killed."""
        return self.declared is not None and self.declared < self.n_bytes

    def patch(self, data: mmap.mmap) -> None:
        """Write the length that there is into the header (of a copy)."""
        layout = self.layout
        extra = layout.id_length + layout.size_length if layout.size_counts_header else 0
        limit = 2 ** (8 * layout.size_length) - 1
        size = min(self.n_bytes + extra, limit).to_bytes(layout.size_length, layout.order)
        data[self.size_at : self.size_at + len(size)] = size
        if layout.head == 12 and data[:4] != b"RF64":
            data[4:8] = min(self.end - 8, 0xFFFFFFFF).to_bytes(4, layout.order)


def find_sound(data: Bytes) -> SoundChunk | None:
    """Where the sound lies; None where the file is not of chunks, or holds no chunk of sound."""
    if data[:4] == b".snd":
        start, declared = (int.from_bytes(data[at : at + 4], "big") for at in (4, 8))
        if not 24 <= start <= len(data):
            return None
        return SoundChunk(start, len(data), declared if declared < _UNKNOWN_LENGTH else None, 8, _AU)
    layout = _layout(data)
    if layout is None:
        return None
    is_rf64 = data[:4] == b"RF64" and data[12:16] == b"ds64"
    for name, size_at, start, size in _chunks(data, layout.head, layout):
        if name != layout.sound:
            continue
        known: int | None = size
        if is_rf64 and size == 0xFFFFFFFF:
            known, size_at = int.from_bytes(data[28:36], "little"), 28
            layout = _Layout(12, 4, 8, "little", 2, b"data")
        elif size >= (_UNKNOWN_LENGTH if layout.size_length == 4 else 2**62):
            known = None if size > len(data) - start else size
        return SoundChunk(start, _end(data, start, known, layout), known, size_at, layout)
    return None


def joined_files(data: Bytes) -> list[tuple[int, int]]:
    """Starts and ends of WAV, AIFF or FLAC files that follow one another; none where there is only one."""
    magic = data[:4]
    starts = [0]
    if magic in (b"RIFF", b"FORM"):
        order: Literal["little", "big"] = "little" if magic == b"RIFF" else "big"
        while data[starts[-1] : starts[-1] + 4] == magic:
            start = starts[-1]
            size = 8 + int.from_bytes(data[start + 4 : start + 8], order)
            starts.append(start + size + size % 2)
        starts.pop()
    elif magic == b"fLaC":
        while (start := data.find(_FLAC, starts[-1] + 1)) > 0:
            starts.append(start)
    return list(zip(starts, [*starts[1:], len(data)], strict=True)) if len(starts) > 1 else []


def _layout(data: Bytes) -> _Layout | None:
    if data[:4] == b"caff":
        return _CAF
    if data[:4] == b"riff" and data[24:28] == b"wave":
        return _W64_LAYOUT
    return _LAYOUTS.get((data[:4], data[8:12]))


def _chunks(data: Bytes, position: int, layout: _Layout) -> Iterator[tuple[bytes, int, int, int]]:
    """Name, place of the length, start and length of each chunk."""
    header = layout.id_length + layout.size_length
    while position + header <= len(data):
        size_at, start = position + layout.id_length, position + header
        size = int.from_bytes(data[size_at:start], layout.order)
        size = max(0, size - header) if layout.size_counts_header else size
        yield data[position:size_at], size_at, start, size
        position = start + size + -size % layout.align


def _end(data: Bytes, start: int, declared: int | None, layout: _Layout) -> int:
    """Where the sound ends: where the header says, unless what follows is sound too."""
    if declared is None:
        return _before_last_chunks(data, start, layout)
    end = start + declared
    if end >= len(data) or (declared and len(data) - end <= _SLACK):
        return min(end, len(data))
    if (
        data[end : end + 4] in _CHUNKS_BEHIND
        or _are_chunks(data, end, layout)
        or _are_chunks(data, end + end % 2, layout)
    ):
        return end
    behind = data[end:]
    return end if behind.startswith(_TAGS) or not behind.strip(b"\0") else len(data)


def _before_last_chunks(data: Bytes, start: int, layout: _Layout) -> int:
    tail = max(start, len(data) - _TAIL)
    ends = [
        at for name in _CHUNKS_BEHIND if (at := data.find(name, tail)) >= 0 and _are_chunks(data, at, layout)
    ]
    return min(ends, default=len(data))


def _are_chunks(data: Bytes, position: int, layout: _Layout) -> bool:
    """Whether chunks with names in plain letters reach from there to the end of the file."""
    if position + layout.id_length + layout.size_length > len(data):
        return False
    end = position
    for name, _, start, size in _chunks(data, position, layout):
        if not all(32 <= byte < 127 for byte in name[:4]):
            return not data[end:].strip(b"\0")
        end = start + size
    return end <= len(data) + 1
