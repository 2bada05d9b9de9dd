"""Ogg files: their pages, and the streams that follow one another in a chain.

A page is "OggS", version, flags (2: the first of a stream, 4: its last), position (8 bytes), serial number
(4), sequence number (4), checksum (4), number of segments, their lengths, the segments (RFC 3533).
"""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

Bytes = bytes | mmap.mmap

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_FIRST, _LAST = 2, 4


@dataclass(frozen=True)
class Chain:
    """Where each link of a chain begins and ends, and how the last one ends."""

    links: tuple[tuple[int, int], ...]
    last_page_is_whole: bool
    is_ended: bool  # the last page says that it is the last


def find_links(data: Bytes) -> Chain:
    """The links of a chain; a plain Ogg file is one. Streams that begin together are one link."""
    starts: list[int] = []
    end, flags, was_first = 0, 0, False
    for start, end in _pages(data):
        if end > len(data):
            break
        flags = data[start + 5]
        if flags & _FIRST and not was_first:
            starts.append(start)
        was_first = bool(flags & _FIRST)
    links = tuple(zip(starts, [*starts[1:], len(data)], strict=False))
    return Chain(links, end <= len(data), bool(flags & _LAST))


def _pages(data: Bytes) -> Iterator[tuple[int, int]]:
    """Start and end of each page; the end of the last may lie beyond the file's."""
    start = data.find(b"OggS")
    while start >= 0:
        n_segments = data[start + 26] if start + 26 < len(data) else 255
        lengths = data[start + 27 : start + 27 + n_segments]
        end = start + 27 + n_segments + sum(lengths)
        yield start, end
        start = end if data[end : end + 4] == b"OggS" else data.find(b"OggS", end)


def same_serial(ogg: bytes) -> bytes:
    """Put 0 for the serial number of an Ogg stream, which libsndfile draws at random.

    The checksum is zlib's with the bits of every byte in the other order, and without its inversions.
    """
    pages = []
    for start, end in _pages(ogg):
        head, tail = ogg[start : start + 14] + bytes(4) + ogg[start + 18 : start + 22], ogg[start + 26 : end]
        inverted = zlib.crc32((head + bytes(4) + tail).translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
        pages += [head, inverted.to_bytes(4, "big").translate(_REVERSED), tail]
    return b"".join(pages)
