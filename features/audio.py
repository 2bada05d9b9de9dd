"""Reading and writing sound: the only code that opens audio files."""

from __future__ import annotations

import io
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from features.files import whole_file

MAX_DURATION_S = 3600.0
MAX_CHANNELS = 32
MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 4000, 768_000
READABLE_SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au")
_UNKNOWN_LENGTH = 0x7F000000
"""Programs that write to a pipe do not know the length, and say at least so many bytes."""
_SOUND_CHUNKS = {(b"RIFF", b"WAVE"): b"data", (b"FORM", b"AIFF"): b"SSND", (b"FORM", b"AIFC"): b"SSND"}
_BLOCK = 2**16
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_SUBTYPES = {".wav": "PCM_16", ".flac": "PCM_16", ".ogg": "VORBIS"}


class AudioError(ValueError):
    """Sound that cannot be used; the message names the file and what was expected."""


@dataclass(frozen=True)
class Audio:
    """Sound in memory: float32 `samples` of shape (C, S), nominally within [-1, 1]."""

    samples: np.ndarray
    sample_rate: int

    def __post_init__(self) -> None:
        if self.samples.ndim != 2 or self.samples.shape[0] == 0:
            raise AudioError(f"expected samples of shape (channels, samples), got {self.samples.shape}")
        if not MIN_SAMPLE_RATE <= self.sample_rate <= MAX_SAMPLE_RATE:
            raise AudioError(
                f"expected a sample rate of {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz, got {self.sample_rate}"
            )
        if not np.isfinite(self.samples).all():
            raise AudioError("the samples hold NaN or infinite values; expected finite numbers")

    @property
    def n_channels(self) -> int:
        return int(self.samples.shape[0])

    @property
    def n_samples(self) -> int:
        return int(self.samples.shape[1])

    @property
    def duration_s(self) -> float:
        return self.n_samples / self.sample_rate

    def mono(self) -> np.ndarray:
        """Return the mean of the channels, shape (S,)."""
        return self.samples.mean(axis=0, dtype=np.float32)

    def in_channels(self, n_channels: int) -> np.ndarray:
        """Return (n_channels, S): the channels themselves if there are so many, else their mean in each."""
        if self.samples.shape[0] == n_channels:
            return self.samples
        return np.repeat(self.mono()[None], n_channels, axis=0)

    def resampled(self, sample_rate: int) -> Audio:
        return Audio(resample(self.samples, self.sample_rate, sample_rate), sample_rate)

    def fitted(self, duration_s: float) -> Audio:
        """Cut it, or pad it with silence, to `duration_s`."""
        n_samples = round(duration_s * self.sample_rate)
        samples = self.samples[:, :n_samples]
        return Audio(np.pad(samples, ((0, 0), (0, n_samples - samples.shape[1]))), self.sample_rate)


AudioSource = str | Path | Audio | tuple[np.ndarray, int]
"""What every extractor takes: a file, an `Audio`, or an array ((S,) or (C, S)) with its sample rate."""


def read_audio(
    path: str | Path, sample_rate: int | None = None, max_duration_s: float = MAX_DURATION_S
) -> Audio:
    """Read a sound file (wav, flac, ogg, mp3, aiff ...) as float32, resampled to `sample_rate` if given.

    Raises:
        AudioError: no such file, a folder, empty, not sound, cut short, too long, too many channels, NaN.
    """
    import soundfile

    path = Path(path)
    if path.is_dir():
        raise AudioError(f"{path} is a folder; expected a sound file ({', '.join(READABLE_SUFFIXES)})")
    if not path.is_file():
        raise AudioError(f"{path} {what_is_amiss(path)}; expected a sound file")
    if path.stat().st_size == 0:
        raise AudioError(f"{path} is empty (0 bytes); expected a sound file")
    try:
        with soundfile.SoundFile(path) as file:
            _check_header(path, file.frames, file.samplerate, file.channels, max_duration_s)
            samples = file.read(dtype="float32", always_2d=True).T
            rate, announced = file.samplerate, file.frames
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise AudioError(
            f"{path} cannot be read as sound ({error}); expected wav, flac, ogg or mp3"
        ) from error
    if samples.shape[1] == 0:
        raise AudioError(f"{path} holds no samples; expected sound")
    if samples.shape[1] < 0.98 * announced:
        raise AudioError(f"{path} is cut short: {samples.shape[1]} of {announced} samples could be read")
    _check_chunk_length(path)
    if not np.isfinite(samples).all():
        raise AudioError(f"{path} holds NaN or infinite samples; expected finite numbers")
    audio = Audio(np.ascontiguousarray(samples), rate)
    return audio if sample_rate in (None, rate) else audio.resampled(int(sample_rate or rate))


def what_is_amiss(path: Path) -> str:
    """Say why there is no file, for messages about a path where one was expected."""
    return "is a device or a pipe, not a file" if os.path.exists(path) else "does not exist"  # noqa: PTH110 - takes any name


def _check_header(path: Path, n_samples: int, sample_rate: int, channels: int, max_duration_s: float) -> None:
    if channels > MAX_CHANNELS:
        raise AudioError(f"{path} has {channels} channels; expected at most {MAX_CHANNELS}")
    if not MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE:
        raise AudioError(
            f"{path} has a sample rate of {sample_rate} Hz; expected {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE}"
        )
    if n_samples / sample_rate > max_duration_s:
        raise AudioError(
            f"{path} lasts {n_samples / sample_rate:.0f} s; expected at most {max_duration_s:.0f} s: cut it"
        )


def _check_chunk_length(path: Path) -> None:
    """Wave and AIFF files say how long their data should be; libsndfile reads a cut one silently."""
    with path.open("rb") as file:
        head = file.read(12)
        sound = _SOUND_CHUNKS.get((head[:4], head[8:]))
        if sound is None:
            return
        size = path.stat().st_size
        while len(chunk := file.read(8)) == 8:
            length = int.from_bytes(chunk[4:], "little" if head[:4] == b"RIFF" else "big")
            if chunk[:4] == sound:
                there = size - file.tell()
                if length < _UNKNOWN_LENGTH and length > there / 0.98:
                    raise AudioError(f"{path} is cut short: {there} of {length} bytes of sound are there")
                return
            file.seek(length + length % 2, os.SEEK_CUR)


def to_audio(source: AudioSource) -> Audio:
    """Return an `Audio` from a file, from an array with its rate, or itself."""
    if isinstance(source, Audio):
        return source
    if isinstance(source, tuple):
        samples, sample_rate = source
        array = np.asarray(samples, dtype=np.float32)
        return Audio(array[None] if array.ndim == 1 else array, int(sample_rate))
    return read_audio(source)


def resample(samples: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Resample along the last axis, band-limited: (..., S) -> (..., S * to_rate / from_rate)."""
    if from_rate == to_rate:
        return samples.astype(np.float32, copy=False)
    import soxr

    flat = samples.reshape(-1, samples.shape[-1])  # (N, S)
    out = np.asarray(soxr.resample(flat.T, from_rate, to_rate, quality="HQ")).T  # (N, S')
    return np.ascontiguousarray(out.reshape(*samples.shape[:-1], out.shape[-1]), dtype=np.float32)


def normalise_peak(samples: np.ndarray, peak: float = 0.95) -> np.ndarray:
    """Scale samples so that the largest is `peak`; silence stays silence."""
    largest = float(np.abs(samples).max(initial=0.0))
    return samples if largest < 1e-6 else (samples * (peak / largest)).astype(np.float32)


def check_writable(path: str | Path, suffixes: tuple[str, ...] = tuple(_SUBTYPES)) -> Path:
    """Return the path if a file can be written there. Raises AudioError otherwise."""
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise AudioError(f"cannot write {path}: expected a name that ends in {', '.join(suffixes)}")
    if path.is_dir():
        raise AudioError(f"cannot write {path}: it is a folder, expected a file name")
    folder = path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise AudioError(f"cannot write {path}: the folder {folder} is not writable")
    return path


def _same_serial(ogg: bytes) -> bytes:
    """Put 0 for the serial number of an Ogg stream, which libsndfile draws at random.

    Its pages are "OggS", version, flags, position (8 bytes), serial number (4), sequence number (4), checksum
    (4), number of segments, their lengths, the segments (RFC 3533). The checksum is zlib's with the bits of
    every byte in the other order, and without its inversions.
    """
    pages, start = [], 0
    while start < len(ogg):
        lengths = ogg[start + 27 : start + 27 + ogg[start + 26]]
        end = start + 27 + len(lengths) + sum(lengths)
        head, tail = ogg[start : start + 14] + bytes(4) + ogg[start + 18 : start + 22], ogg[start + 26 : end]
        inverted = zlib.crc32((head + bytes(4) + tail).translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
        pages += [head, inverted.to_bytes(4, "big").translate(_REVERSED), tail]
        start = end
    return b"".join(pages)


def write_audio(path: str | Path, samples: np.ndarray, sample_rate: int) -> Path:
    """Write (S,) or (C, S) samples as wav, flac or ogg (by the name's ending), whole or not at all.

    Samples outside [-1, 1] would wrap or clip: AudioError.
    """
    import soundfile

    path = check_writable(path)
    audio = to_audio((samples, sample_rate))
    if np.abs(audio.samples).max(initial=0.0) > 1.0:
        raise AudioError(
            f"cannot write {path}: samples reach {np.abs(audio.samples).max():.2f}, expected within [-1, 1]"
        )
    suffix = path.suffix.lower()
    encoded = io.BytesIO()  # libsndfile says nothing where the last bytes of a file cannot be written
    try:
        with soundfile.SoundFile(
            encoded, "w", sample_rate, audio.n_channels, _SUBTYPES[suffix], format=suffix[1:].upper()
        ) as file:
            for start in range(0, audio.n_samples, _BLOCK):  # a minute of Vorbis at once overflows its stack
                file.write(audio.samples[:, start : start + _BLOCK].T)
        with whole_file(path) as partial:
            partial.write_bytes(_same_serial(encoded.getvalue()) if suffix == ".ogg" else encoded.getbuffer())
    except (soundfile.LibsndfileError, RuntimeError, OSError) as error:
        raise AudioError(f"cannot write {path}: {error}") from error
    return path
