"""Sound files to samples: libsndfile, and what it has to know of files that it misreads."""

from __future__ import annotations

import io
import logging
import mmap
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile

from features import chunks, mpeg, ogg
from features.audio import MAX_CHANNELS, MAX_SAMPLE_RATE, MIN_SAMPLE_RATE, Audio, AudioError
from features.file_kinds import HEAD, guess_kind, sniff_magic

logger = logging.getLogger(__name__)

_BLOCK = 2**16
_MAX_PREALLOCATED_VALUES = 2**28
"""So many values at most (1 GB) are made room for because a header says so."""
_NO_LENGTH = 2**60
"""libsndfile says more than this where a header says no length."""
_MIN_MPEG_FRAMES = 10
"""A file that libsndfile takes for nothing is MP3 if it has so many frames."""


class _SequentialFile(soundfile.SoundFile):
    """A sound file read from its beginning to its end: some have no positions to seek."""

    def seekable(self) -> bool:
        return False


class _WritableCopy(mmap.mmap):
    """The bytes of a file, which may be changed here without changing the file."""

    def seek(self, position: int, whence: int = os.SEEK_SET) -> None:
        """Go to a place, or as near to it as the file reaches: libsndfile also tries others."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: len(self)}[whence]
        super().seek(min(max(origin + position, 0), len(self)))


def decode(path: Path, max_duration_s: float) -> Audio:
    """Read a file that is there and not empty. AudioError, naming it, where that is not possible."""
    try:
        with path.open("rb") as file:
            problem = sniff_magic(file.read(HEAD), path.name)
            if problem is not None:
                raise AudioError(f"{path} {problem}")
            with _WritableCopy(file.fileno(), 0, access=mmap.ACCESS_COPY) as data:
                return _decode(path, data, max_duration_s)
    except OSError as error:
        raise AudioError(f"{path} cannot be read: {error.strerror or error}") from error


def _decode(path: Path, data: _WritableCopy, max_duration_s: float) -> Audio:
    try:
        places = _joined_files(path, data)
        if places:
            return _join(path, (data[start:end] for start, end in places), max_duration_s)
        source = data if _mend_chunks(path, data) else os.fsencode(path)  # a name need not be UTF-8
        parts: list[bytes] = []
        try:
            with _SequentialFile(source) as opened:
                frames: int | None = opened.frames if opened.frames < _NO_LENGTH else None
                if opened.format == "MP3":
                    parts, frames = _mpeg_parts(path, data, opened.frames, max_duration_s)
                if not parts:
                    return _read(path, opened, frames, max_duration_s)
        except soundfile.LibsndfileError:  # it gives up where there is much that is no MP3
            parts = _hidden_mpeg(path, data, max_duration_s)
            if not parts:
                raise
        return _join(path, parts, max_duration_s)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        looks = guess_kind(data[:HEAD])
        why = f": it is {looks}" if looks else f" ({_reason(error)})"
        raise AudioError(f"{path} cannot be read as sound{why}; expected wav, flac, ogg or mp3") from error


def _reason(error: RuntimeError) -> str:
    said = error.error_string if isinstance(error, soundfile.LibsndfileError) else str(error)
    # what libsndfile says of a file called .mp3 in which it finds none
    return "its format is not known" if "not a regular file" in said else said.rstrip(".")


def _joined_files(path: Path, data: _WritableCopy) -> list[tuple[int, int]]:
    """Places of files that follow one another in one; none of one alone. libsndfile reads only the first."""
    places = chunks.joined_files(data)
    if data[:4] == b"OggS":
        chain = ogg.find_links(data)
        if not chain.last_page_is_whole:
            raise AudioError(f"{path} is cut short: its last Ogg page is not whole")
        if not chain.is_ended:
            logger.warning("%s does not say where it ends (Ogg): it may be cut", path)
        places = list(chain.links) if len(chain.links) > 1 else []
    return places


def _mend_chunks(path: Path, data: _WritableCopy) -> bool:
    """Put the true length of the sound into the header where it is wrong; whether it was."""
    is_bw64 = data[:4] == b"BW64"
    if is_bw64:
        data[:4] = b"RF64"  # which it was called before, and is called by libsndfile
    sound = chunks.find_sound(data)
    if sound is None:
        return False
    _check_length(path, sound)
    if sound.is_understated:
        said, there = sound.declared, sound.n_bytes
        logger.warning(
            "%s says that it holds %d bytes of sound: %d are there, and are read", path, said, there
        )
    elif sound.declared is not None:
        return is_bw64
    sound.patch(data)
    return True


def _check_length(path: Path, sound: chunks.SoundChunk | None) -> None:
    if sound is not None and sound.is_cut:
        raise AudioError(f"{path} is cut short: {sound.n_bytes} of {sound.declared} bytes of sound are there")


def _mpeg_parts(
    path: Path, data: _WritableCopy, estimate: int, max_duration_s: float
) -> tuple[list[bytes], int | None]:
    """Streams to be read one by one, none where libsndfile reads all; and how many samples are announced."""
    streams = _mpeg_streams(path, data, max_duration_s)
    if len(streams) == 1 and streams[0].says_its_length:
        return [], estimate
    if len(streams) > 1 or (streams and streams[0].n_samples > estimate):
        return [stream.read(data) for stream in streams], None
    return [], None  # the estimate is long enough


def _mpeg_streams(path: Path, data: _WritableCopy, max_duration_s: float) -> list[mpeg.Stream]:
    streams = mpeg.find_streams(data, max_duration_s)
    if (
        sum(stream.n_samples / stream.sample_rate for stream in streams) > max_duration_s + 1
    ):  # frames are padded
        raise AudioError(f"{path} lasts longer than {max_duration_s:.0f} s: cut it")
    return streams


def _hidden_mpeg(path: Path, data: _WritableCopy, max_duration_s: float) -> list[bytes]:
    """The streams of an MP3 file that begins with something else, such as a WAV header."""
    streams = _mpeg_streams(path, data, max_duration_s)
    is_mpeg = sum(stream.n_frames for stream in streams) >= _MIN_MPEG_FRAMES
    return [stream.read(data) for stream in streams] if is_mpeg else []


def _join(path: Path, parts: Iterable[bytes], max_duration_s: float) -> Audio:
    """Several streams after one another, at the sample rate and in the channels of the first."""
    pieces: list[Audio] = []
    duration_s = 0.0
    for part in parts:
        _check_length(path, chunks.find_sound(part))
        with _SequentialFile(io.BytesIO(part)) as opened:
            pieces.append(_read(path, opened, opened.frames, max_duration_s, duration_s))
        duration_s += pieces[-1].duration_s
    first = pieces[0]
    if any(
        (piece.sample_rate, piece.n_channels) != (first.sample_rate, first.n_channels) for piece in pieces
    ):
        logger.warning(
            "%s consists of streams that differ: all are brought to the %d Hz and %d channels of the first",
            path, first.sample_rate, first.n_channels,
        )  # fmt: skip
    conformed = [
        Audio(p.in_channels(first.n_channels), p.sample_rate).resampled(first.sample_rate) for p in pieces
    ]
    return Audio(np.concatenate([piece.samples for piece in conformed], axis=1), first.sample_rate)


def _read(
    path: Path,
    opened: soundfile.SoundFile,
    frames: int | None,
    max_duration_s: float,
    duration_s: float = 0.0,
) -> Audio:
    """All that is in an open file of `frames` frames (None: it does not say), `duration_s` into the whole."""
    rate, channels = opened.samplerate, opened.channels
    if channels > MAX_CHANNELS:
        raise AudioError(f"{path} has {channels} channels; expected at most {MAX_CHANNELS}")
    if not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
        raise AudioError(
            f"{path} has a sample rate of {rate} Hz; expected {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE}"
        )
    if frames is not None and (end_s := duration_s + frames / rate) > max_duration_s:
        raise AudioError(f"{path} lasts {end_s:.0f} s; expected at most {max_duration_s:.0f} s: cut it")
    said = opened.frames if opened.frames < _NO_LENGTH else 60 * rate
    samples = np.empty(
        (channels, min(max(said, 1), _MAX_PREALLOCATED_VALUES // channels)), dtype=np.float32
    )  # (C, S)
    block = np.empty((_BLOCK, channels), dtype=np.float32)
    n_samples = 0
    while n_new := len(opened.read(out=block)):
        if n_samples + n_new > samples.shape[1]:
            samples = np.concatenate([samples, np.empty_like(samples)], axis=1)
        samples[:, n_samples : n_samples + n_new] = block[:n_new].T
        n_samples += n_new
        if duration_s + n_samples / rate > max_duration_s:
            raise AudioError(f"{path} lasts longer than {max_duration_s:.0f} s: cut it")
    if frames is not None and n_samples < 0.98 * frames:
        raise AudioError(f"{path} is cut short: {n_samples} of {frames} samples could be read")
    if n_samples == 0:
        raise AudioError(f"{path} holds no samples; expected sound")
    try:
        return Audio(np.ascontiguousarray(samples[:, :n_samples]), rate)
    except AudioError as error:  # NaN
        raise AudioError(f"{path}: {error}") from error
