"""MP3 streams: where their frames lie, and streams of which a decoder knows how long they are.

libsndfile only estimates the length of a stream without a Xing header from its first frame, and reads no
further; tags count as sound in its estimate, and a stream that follows another is not seen. All frames are
found here instead. Layer III of MPEG 1, 2 and 2.5 with a stated bit rate; a frame begins with 11 set bits,
version (2), layer (2), protection, bit rate (4), sample rate (2), padding, private, channel mode (2)
(ISO 11172-3).
"""

from __future__ import annotations

import math
import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

Bytes = bytes | mmap.mmap

_KBIT = {
    3: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),  # MPEG 1
    2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),  # MPEG 2
}
_KBIT[0] = _KBIT[2]  # MPEG 2.5
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_TAG = re.compile(b"Xing|Info|VBRI")
_HEAD = 40  # bytes, in which a tag has its name
_CONFIRM = 3
"""So many frames in a row are no accident."""
_SYNC = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb][\x10-\xef].", re.DOTALL)
_MOST_JUNK = 2**22
TOO_LONG_S = 1.5
"""A stream is read so much beyond what is allowed, to tell that it is longer."""

_GAPS = 21, 24
"""Where a tag's delay and padding of the encoder (12 bits each) lie behind the name of the encoder."""


@dataclass(frozen=True)
class _Header:
    length: int  # bytes
    kind: tuple[int, int, bool]  # what does not change within a stream: version, sample rate, mono
    samples: int


@dataclass
class Stream:
    """The frames of one stream: `spans` of bytes, the tag before them, and how many frames that announces."""

    sample_rate: int
    samples_per_frame: int
    spans: list[list[int]] = field(default_factory=list)
    n_frames: int = 0
    tag: bytes = b""
    announced: int | None = None
    gaps: bytes = b""  # delay and padding of the encoder

    @property
    def n_samples(self) -> int:
        return self.n_frames * self.samples_per_frame

    @property
    def says_its_length(self) -> bool:
        """Whether the tag says the number of frames, or of some that are missing."""
        return self.announced is not None and self.n_frames <= self.announced + 1

    def read(self, data: Bytes) -> bytes:
        """The stream alone, behind a tag that says its length."""
        frames = b"".join(data[start:end] for start, end in self.spans)
        return (self.tag if self.says_its_length else self._new_tag(frames[:4])) + frames

    def _new_tag(self, first: bytes) -> bytes:
        # 128 or 80 kbit/s: large enough for the tag at any sample rate
        header = bytes([first[0], first[1] | 1, first[2] & 0x0C | 0x90, first[3]])
        found = _header(header)
        assert found is not None
        tag = b"Xing" + (1).to_bytes(4, "big") + self.n_frames.to_bytes(4, "big")
        if self.gaps:
            tag += b"LAME3.100".ljust(_GAPS[0], b"\0") + self.gaps
        return (header + bytes(_tag_offset(found.kind) - 4) + tag).ljust(found.length, b"\0")


def find_streams(data: Bytes, max_duration_s: float = math.inf) -> list[Stream]:
    """All streams in a file, in order: a new one begins at a tag and where rate or channels change.

    Ends TOO_LONG_S after `max_duration_s`. An empty list where there is no MP3.
    """
    streams: list[Stream] = []
    kind, duration_s = None, 0.0
    for start, header, head in _frames(data):
        tag = _read_tag(data[start : start + header.length], header) if _TAG.search(head) else None
        if tag is not None or header.kind != kind:
            streams.append(Stream(header.kind[1], header.samples))
            kind = header.kind
        stream = streams[-1]
        if tag is not None:
            stream.tag, (stream.announced, stream.gaps) = data[start : start + header.length], tag
            continue
        if stream.spans and stream.spans[-1][1] == start:
            stream.spans[-1][1] = start + header.length
        else:
            stream.spans.append([start, start + header.length])
        stream.n_frames += 1
        duration_s += header.samples / header.kind[1]
        if duration_s > max_duration_s + TOO_LONG_S:
            break
    whole = [stream for stream in streams if stream.n_frames >= _CONFIRM]  # fewer may be junk
    return whole or [stream for stream in streams if stream.n_frames]


def _frames(data: Bytes) -> Iterator[tuple[int, _Header, bytes]]:
    """Starts of all frames that are whole, their headers and their first bytes."""
    position, kind, n_bytes = 0, None, len(data)
    while position + 4 <= n_bytes:
        head = data[position : position + _HEAD]
        header = _header(head[:4])
        if header is None or (header.kind != kind and not _confirmed(data, position, header)):
            tag = _tag_length(data, position)
            position = position + tag if tag else _next_frame(data, position + 1)
            continue
        kind = header.kind
        if position + header.length <= n_bytes:
            yield position, header, head
        position += header.length


@lru_cache(maxsize=4096)
def _header(head: bytes) -> _Header | None:
    first, second, third, fourth = head
    version, rate, kbit = second >> 3 & 3, third >> 2 & 3, third >> 4
    if first != 0xFF or second & 0xE6 != 0xE2 or version == 1 or rate == 3 or kbit in (0, 15):
        return None
    sample_rate, samples = _RATES[version][rate], 1152 if version == 3 else 576
    length = samples // 8 * 1000 * _KBIT[version][kbit - 1] // sample_rate + (third >> 1 & 1)
    return _Header(length, (version, sample_rate, fourth >> 6 == 3), samples)


def _confirmed(data: Bytes, position: int, header: _Header) -> bool:
    """Whether frames of the same kind follow, as far as the file goes."""
    kind, follower = header.kind, header
    for _ in range(_CONFIRM):
        position += follower.length
        if position + 4 > len(data) or _tag_length(data, position):
            return True
        found = _header(data[position : position + 4])
        if found is None or found.kind != kind:
            return False
        follower = found
    return True


def _next_frame(data: Bytes, start: int) -> int:
    """Where the next frame may begin; the end of the file where there is none nearby."""
    limit = min(start + _MOST_JUNK, len(data))
    while match := _SYNC.search(data, start, limit):
        start = match.start() + 1
        header = _header(match[0])
        if header is not None and _confirmed(data, match.start(), header):
            return match.start()
    return len(data)


def _tag_length(data: Bytes, position: int) -> int:
    """Bytes of an ID3 or APE tag that begins there; 0 where none does."""
    head = data[position : position + 32]
    if head[:3] == b"ID3" and len(head) >= 10:
        size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
        return 10 + size + (10 if head[5] & 0x10 else 0)
    if head[:8] == b"APETAGEX":
        return 32 + int.from_bytes(head[12:16], "little")
    return 128 if head[:3] == b"TAG" else 0


@lru_cache
def _tag_offset(kind: tuple[int, int, bool]) -> int:
    version, _, mono = kind
    return 4 + ((17 if mono else 32) if version == 3 else (9 if mono else 17))


def _read_tag(frame: bytes, header: _Header) -> tuple[int | None, bytes] | None:
    """Number of frames (None if unsaid) and gaps, where the frame is no sound but a Xing or VBRI tag."""
    offset = _tag_offset(header.kind)
    if frame[offset : offset + 4] not in (b"Xing", b"Info"):
        return (None, b"") if frame[36:40] == b"VBRI" else None
    flags = int.from_bytes(frame[offset + 4 : offset + 8], "big")
    announced = int.from_bytes(frame[offset + 8 : offset + 12], "big") if flags & 1 else None
    lengths = (4, 4, 100, 4)  # of the number of frames and of bytes, of places to seek, of the quality
    behind = offset + 8 + sum(length for bit, length in enumerate(lengths) if flags >> bit & 1)
    return announced, frame[behind + _GAPS[0] : behind + _GAPS[1]] if frame[behind:].strip(b"\0") else b""
