"""Sound in memory, and from and to files; `features.decode` is what opens them."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from typing_extensions import TypeIs

from features.files import whole_file
from features.ogg import same_serial

MAX_DURATION_S = 3600.0
MAX_CHANNELS = 32
MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 4000, 768_000
READABLE_SUFFIXES = (
    ".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64",
)  # fmt: skip
_BLOCK = 2**16
_CANCELLED = 0.01  # -20 dB
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
        if self.samples.shape[0] > MAX_CHANNELS:
            raise AudioError(
                f"expected samples of shape (channels, samples) with at most {MAX_CHANNELS} channels, got "
                f"{self.samples.shape}: if that is (samples, channels), transpose it"
            )
        if self.samples.dtype.kind != "f":
            raise AudioError(
                f"expected samples as floats within [-1, 1], got {self.samples.dtype}: "
                "divide whole numbers by the largest of their type"
            )
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
        """Return the mean of the channels, shape (S,); of channels that cancel out, with the same sign."""
        return self.in_phase().samples.mean(axis=0, dtype=np.float32)

    def in_phase(self) -> Audio:
        """Turn over the channels that cancel out the loudest, where their mean is 20 dB below them all.

        Else it is returned as it is. A right channel that is minus the left comes from a crossed cable, or
        from a song whose middle was taken out; in mono nothing would be left of it.
        """
        if self.n_channels == 1 or self.n_samples == 0:
            return self
        with np.errstate(over="ignore", invalid="ignore"):
            products = self.samples @ self.samples.T  # (C, C)
        if not products.sum() / self.n_channels < _CANCELLED * products.trace():
            return self
        signs = np.where(products[products.diagonal().argmax()] < 0, -1.0, 1.0)[:, None]
        return Audio(self.samples * signs.astype(np.float32), self.sample_rate)

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
"""What every extractor takes: a file, an `Audio`, or an array with its sample rate.

Arrays are (S,), (C, S) or (S, C), floats or whole numbers (int16, int32, uint8).
"""


def read_audio(
    path: str | Path, sample_rate: int | None = None, max_duration_s: float = MAX_DURATION_S
) -> Audio:
    """Read a sound file (wav, flac, ogg, mp3, aiff ...) as float32, resampled to `sample_rate` if given.

    Raises:
        AudioError: no such file, a folder, empty, not sound, cut short, too long, too many channels, NaN.
    """
    from features.decode import decode

    path = Path(path)
    if path.is_dir():
        raise AudioError(f"{path} is a folder; expected a sound file ({', '.join(READABLE_SUFFIXES)})")
    if not path.is_file():
        raise AudioError(f"{path} {what_is_amiss(path)}; expected a sound file")
    if path.stat().st_size == 0:
        raise AudioError(f"{path} is empty (0 bytes); expected a sound file")
    audio = decode(path, max_duration_s)
    return (
        audio
        if sample_rate in (None, audio.sample_rate)
        else audio.resampled(int(sample_rate or audio.sample_rate))
    )


def what_is_amiss(path: Path) -> str:
    """Say why there is no file, for messages about a path where one was expected."""
    return "is a device or a pipe, not a file" if os.path.exists(path) else "does not exist"  # noqa: PTH110 - takes any name


def to_audio(source: AudioSource) -> Audio:
    """Return an `Audio` from a file, from an array with its rate, or itself."""
    if isinstance(source, Audio):
        return source
    if isinstance(source, tuple):
        if len(source) != 2:
            raise AudioError(f"expected an array and its sample rate, got a tuple of {len(source)}")
        return _from_array(*source)
    return read_audio(source)


def is_array_with_rate(source: object) -> TypeIs[tuple[np.ndarray, int]]:
    """Whether it is a tuple of an array and its sample rate, in either order (SciPy gives the rate first)."""
    return (
        isinstance(source, tuple) and len(source) == 2 and any(getattr(item, "shape", ()) for item in source)
    )


def _from_array(samples: object, sample_rate: object) -> Audio:
    """Samples (S,), (C, S) or (S, C), floats or whole numbers of their full range, and the rate."""
    try:
        array, rate = np.asarray(samples), np.asarray(sample_rate)
    except (TypeError, ValueError) as error:
        raise AudioError(f"expected an array of samples and its sample rate: {error}") from error
    if array.ndim == 0:
        array, rate = rate, array
    if rate.ndim > 0 or rate.dtype.kind not in "iuf" or rate % 1 != 0:
        said = f"an array of shape {rate.shape}" if rate.ndim else repr(rate.item())
        raise AudioError(f"expected an array of samples and its sample rate in Hz, got {said} for the rate")
    if array.ndim == 2 and array.shape[0] > MAX_CHANNELS >= array.shape[1]:
        array = array.T  # (S, C), as soundfile and SciPy read
    return Audio(_as_floats(array[None] if array.ndim == 1 else array), int(rate))


def _as_floats(array: np.ndarray) -> np.ndarray:
    """Whole numbers of 8 (unsigned), 16 or 32 bits as float32 within [-1, 1]; floats as float32."""
    if array.dtype.kind == "f":
        return np.ascontiguousarray(array, dtype=np.float32)
    if array.dtype == np.uint8:
        return np.ascontiguousarray((array.astype(np.float32) - 128) / 128)
    if array.dtype in (np.int16, np.int32):
        return np.ascontiguousarray((array / -float(np.iinfo(array.dtype).min)).astype(np.float32))
    raise AudioError(f"expected samples as floats, int16, int32 or uint8, got {array.dtype}")


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
            partial.write_bytes(same_serial(encoded.getvalue()) if suffix == ".ogg" else encoded.getbuffer())
    except (soundfile.LibsndfileError, RuntimeError, OSError) as error:
        raise AudioError(f"cannot write {path}: {error}") from error
    return path
