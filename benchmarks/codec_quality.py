"""How much of a recording do a codec's encode and decode leave intact?

    python -m benchmarks.codec_quality --files corpus/valid --n 32

Level distances do not show an "underwater" colour: the wobble of sustained bands and the
instantaneous-frequency error of spectral peaks do. The stereo image is judged by the cues by which the ear
places sound (Blauert, "Spatial Hearing"; Breebaart et al. 2005): level differences and coherence of the
channels.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from features.audio import Audio
from flowmusic.codec.protocol import Codec, encode_audio
from flowmusic.evaluation.estimates import Estimate, mean
from flowmusic.evaluation.report import markdown_table, write_lines
from flowmusic.plots.figures import plot_spectrograms

WINDOW, HOP = 2048, 512
FLOOR_DB = -80.0
ONSET_WINDOW_S = 0.05
WOBBLE_HZ = (3.0, 20.0)
WOBBLE_FRAME_RATE = 125.0
BANDS_PER_OCTAVE = 12
BAND_LOW_HZ, BAND_HIGH_HZ = 100.0, 8000.0
SUSTAIN_SPAN_S = 0.16
SUSTAIN_RANGE_DB = 6.0
AUDIBLE_DB = -50.0
PHASE_STEP = 32
LIBROSA_RATE = 22_050
STEREO_HOP, STEREO_COLUMNS = 1024, 4
STEREO_LOW_HZ, STEREO_HIGH_HZ, STEREO_BANDS_PER_OCTAVE = 100.0, 12_800.0, 3
MAX_LEVEL_DIFFERENCE_DB = 20.0
FULL_SCALE_SINE = WINDOW / 4
"""STFT magnitude of a sine of amplitude 1: half the sum of the Hann window."""


@dataclass(frozen=True)
class CodecQuality:
    """Figures of one resynthesis, or their means; None where a figure does not apply.

    log_magnitude_error_db  mean |difference| of STFT levels, dB, floor 80 dB below the loudest bin
    log_magnitude_error_dbfs  the same, floor at -80 dB full scale (0 dB: a sine of full scale)
    chroma_correlation      Pearson correlation of the chromagrams
    onset_f1                onsets of the mix against the original's, 50 ms, at librosa's own rate:
                            22.05 kHz, in frames of 23 ms
    onset_f1_fine           the same at the sound's own rate: at 32 kHz in frames of 16 ms
    wobble_error_db         RMS difference of 3-20 Hz level modulation in sustained bands, dB
    wobble_ratio            RMS modulation there, divided by the original's
    frequency_error_hz      mean instantaneous-frequency error at the original's spectral peaks, Hz
    level_difference_error_db, coherence_error  of the stereo image (`stereo_errors`), of stereo sound
    decode_real_time_factor seconds of computing for a second of sound
    """

    log_magnitude_error_db: float | None
    log_magnitude_error_dbfs: float | None
    chroma_correlation: float | None
    onset_f1: float | None
    onset_f1_fine: float | None
    wobble_error_db: float | None
    wobble_ratio: float | None
    frequency_error_hz: float | None
    level_difference_error_db: float | None
    coherence_error: float | None
    decode_real_time_factor: float | None


def compare(original: np.ndarray, decoded: np.ndarray, sample_rate: int) -> CodecQuality:
    """Every figure but speed and stereo image, for two signals of shape (S,) at the same rate.

    Raises:
        ValueError: different lengths, or a silent original.
    """
    if original.ndim != 1 or original.shape != decoded.shape:
        raise ValueError(f"expected two signals of one shape (S,), got {original.shape} and {decoded.shape}")
    if len(original) < 2 * WINDOW or np.abs(original).max(initial=0.0) < 1e-5:
        raise ValueError(
            f"expected an audible original of at least {2 * WINDOW} samples, got {len(original)}"
        )
    wobble_error_db, ratio = wobble(original, decoded, sample_rate)
    return CodecQuality(
        log_magnitude_error_db=log_magnitude_error_db(original, decoded),
        log_magnitude_error_dbfs=log_magnitude_error_dbfs(original, decoded),
        chroma_correlation=chroma_correlation(original, decoded, sample_rate),
        onset_f1=onset_f1(original, decoded, sample_rate, LIBROSA_RATE),
        onset_f1_fine=onset_f1(original, decoded, sample_rate, sample_rate),
        wobble_error_db=wobble_error_db,
        wobble_ratio=ratio,
        frequency_error_hz=frequency_error_hz(original, decoded, sample_rate),
        level_difference_error_db=None,
        coherence_error=None,
        decode_real_time_factor=None,
    )


def stft_magnitude(samples: np.ndarray) -> np.ndarray:
    """STFT magnitudes (bins, F), window 2048, hop 512."""
    import librosa

    return np.asarray(np.abs(librosa.stft(samples, n_fft=WINDOW, hop_length=HOP)))


def levels_db(magnitude: np.ndarray, full_scale: float) -> np.ndarray:
    """Levels in dB below `full_scale`, floored at -80."""
    relative = np.maximum(magnitude, 1e-12) / max(full_scale, 1e-12)
    return np.asarray(np.maximum(20 * np.log10(relative), FLOOR_DB))


def log_magnitude_error_db(original: np.ndarray, decoded: np.ndarray) -> float:
    """Mean absolute difference of levels, STFT 2048, hop 512.

    Both signals' levels are relative to the original's largest magnitude and floored at -80 dB: with a
    scale of its own each, an error at the one loudest peak would shift every other bin.
    """
    before, after = stft_magnitude(original), stft_magnitude(decoded)
    largest = float(before.max())
    return float(np.abs(levels_db(before, largest) - levels_db(after, largest)).mean())


def log_magnitude_error_dbfs(original: np.ndarray, decoded: np.ndarray) -> float:
    """As `log_magnitude_error_db`, but levels are relative to a sine of full scale.

    The floor is then at -80 dB full scale whatever the clip's loudest bin is: quiet clips have more of their
    bins below it, and so smaller errors.
    """
    levels = [levels_db(stft_magnitude(x), FULL_SCALE_SINE) for x in (original, decoded)]
    return float(np.abs(levels[0] - levels[1]).mean())


def chroma_correlation(original: np.ndarray, decoded: np.ndarray, sample_rate: int) -> float | None:
    """Pearson correlation of two chromagrams (STFT 4096, each frame scaled to a maximum of 1).

    Over all bins of the frames within 50 dB of the original's loudest.
    """
    import librosa

    power = [np.abs(librosa.stft(x, n_fft=4096, hop_length=1024)) ** 2 for x in (original, decoded)]
    loudness = power[0].sum(axis=0)
    audible = loudness > loudness.max() * 10 ** (AUDIBLE_DB / 10)
    chroma = [
        librosa.feature.chroma_stft(S=p, sr=sample_rate, n_fft=4096, tuning=0.0)[:, audible].ravel()
        for p in power
    ]
    if any(c.std() < 1e-9 for c in chroma):
        return None
    return float(np.corrcoef(chroma[0], chroma[1])[0, 1])


def onset_f1(original: np.ndarray, decoded: np.ndarray, sample_rate: int, at_rate: int) -> float | None:
    """F1 of `librosa.onset` onsets of the full signals, 50 ms, at a sample rate; None without any."""
    import librosa
    import mir_eval.onset

    signals = [librosa.resample(x, orig_sr=sample_rate, target_sr=at_rate) for x in (original, decoded)]
    times = [librosa.onset.onset_detect(y=x, sr=at_rate, hop_length=HOP, units="time") for x in signals]
    if len(times[0]) == 0:
        return None
    return float(mir_eval.onset.f_measure(*times, window=ONSET_WINDOW_S)[0]) if len(times[1]) else 0.0


def band_levels_db(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Levels (bands, F) of 12 bands an octave from 100 Hz to 8 kHz at about 125 frames a second, dB."""
    import librosa

    hop = round(sample_rate / WOBBLE_FRAME_RATE)
    power = np.abs(librosa.stft(samples, n_fft=WINDOW, hop_length=hop)) ** 2  # (bins, F)
    bins_hz = np.arange(power.shape[0]) * sample_rate / WINDOW
    n_bands = round(np.log2(min(BAND_HIGH_HZ, sample_rate / 2) / BAND_LOW_HZ) * BANDS_PER_OCTAVE)
    position = np.log2(np.maximum(bins_hz, 1.0) / BAND_LOW_HZ) * BANDS_PER_OCTAVE
    weights = np.clip(1 - np.abs(position[None] - np.arange(n_bands)[:, None]), 0, None)  # (bands, bins)
    weights = weights[weights.sum(axis=1) > 0.25]
    levels = 10 * np.log10(np.maximum(weights @ power, 1e-12))
    # The windows at the clip's ends reach into nothing, which would look like modulation.
    edge = -(-WINDOW // (2 * hop))
    return np.asarray(levels[:, edge:-edge])


def wobble(original: np.ndarray, decoded: np.ndarray, sample_rate: int) -> tuple[float | None, float | None]:
    """Level modulation between 3 and 20 Hz where the original holds a tone.

    A band and frame is sustained if the original is within 50 dB of its loudest band and stays
    within 6 dB for 0.16 s on either side. Returns the RMS difference of the modulations in dB, and
    the decoded one's RMS divided by the original's; (None, None) with less than a second of it in all.
    """
    from scipy.ndimage import maximum_filter1d, minimum_filter1d
    from scipy.signal import butter, sosfiltfilt

    before, after = band_levels_db(original, sample_rate), band_levels_db(decoded, sample_rate)
    frame_rate = sample_rate / round(sample_rate / WOBBLE_FRAME_RATE)
    floor = before.max() + FLOOR_DB
    before, after = np.maximum(before, floor), np.maximum(after, floor)
    span = 2 * round(SUSTAIN_SPAN_S * frame_rate) + 1
    movement = maximum_filter1d(before, span) - minimum_filter1d(before, span)
    sustained = (movement < SUSTAIN_RANGE_DB) & (before > before.max() + AUDIBLE_DB)
    if sustained.sum() < frame_rate or before.shape[1] < 32:
        return None, None
    filters = butter(2, WOBBLE_HZ, btype="bandpass", fs=frame_rate, output="sos")
    am_before = sosfiltfilt(filters, before, axis=1)[sustained]
    am_after = sosfiltfilt(filters, after, axis=1)[sustained]
    rms_before, rms_after = float(np.sqrt((am_before**2).mean())), float(np.sqrt((am_after**2).mean()))
    return float(np.sqrt(((am_after - am_before) ** 2).mean())), rms_after / max(rms_before, 1e-3)


def frequency_error_hz(original: np.ndarray, decoded: np.ndarray, sample_rate: int) -> float | None:
    """Mean |difference| of instantaneous frequency at the original's spectral peaks, in Hz.

    Peaks: local maxima over frequency within 50 dB of the clip's largest magnitude, below 8 kHz
    (STFT 2048). The frequency is the phase advance over 32 samples. An error above one bin means
    that the partial is gone; it counts as one bin.
    """
    magnitude, before = _phase_advance(original)
    _, after = _phase_advance(decoded)
    top = round(min(BAND_HIGH_HZ, sample_rate / 2) / sample_rate * WINDOW)
    middle = magnitude[1:-1]
    peaks = (middle > magnitude[:-2]) & (middle >= magnitude[2:])
    peaks &= middle > magnitude.max() * 10 ** (AUDIBLE_DB / 20)
    peaks[top:] = False
    if not peaks.any():
        return None
    turn = np.angle(after[1:-1][peaks] * np.conj(before[1:-1][peaks]))
    error_hz = np.abs(turn) * sample_rate / (2 * np.pi * PHASE_STEP)
    return float(np.minimum(error_hz, sample_rate / WINDOW).mean())


def _phase_advance(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """STFT magnitudes (bins, F) and the cross spectrum with the STFT PHASE_STEP samples later."""
    import librosa

    now = librosa.stft(samples[:-PHASE_STEP], n_fft=WINDOW, hop_length=HOP)
    later = librosa.stft(samples[PHASE_STEP:], n_fft=WINDOW, hop_length=HOP)
    return np.abs(now), later * np.conj(now)


@dataclass(frozen=True)
class StereoCues:
    """Cues of (2, S) samples by band and column of time, (N, T) each.

    level_difference_db  left over right, at most 20 dB either way
    coherence            |correlation| of the channels, 0 to 1
    power                of both channels
    """

    level_difference_db: np.ndarray
    coherence: np.ndarray
    power: np.ndarray

    @property
    def audible(self) -> np.ndarray:
        """Where there is sound, (N, T) bool. ValueError where it is all silent."""
        loudest = float(self.power.max(initial=0.0))
        if loudest <= 0:
            raise ValueError("silence has no stereo image; expected sound")
        return self.power > loudest * 10 ** (AUDIBLE_DB / 10)


def stereo_cues(samples: np.ndarray, sample_rate: int) -> StereoCues:
    """The cues of (2, S) samples in thirds of an octave over some 130 ms."""
    import librosa

    left, right = (librosa.stft(channel, n_fft=WINDOW, hop_length=STEREO_HOP) for channel in samples)
    n_bands = round(np.log2(min(STEREO_HIGH_HZ, sample_rate / 2) / STEREO_LOW_HZ) * STEREO_BANDS_PER_OCTAVE)
    edges = STEREO_LOW_HZ * 2.0 ** (np.arange(n_bands + 1) / STEREO_BANDS_PER_OCTAVE)
    first_bins = np.searchsorted(librosa.fft_frequencies(sr=sample_rate, n_fft=WINDOW), edges)

    def pooled(values: np.ndarray) -> np.ndarray:
        """Sums over bands and columns: (F, T') -> (N, T)."""
        n_columns = values.shape[1] // STEREO_COLUMNS
        columns = (
            values[:, : n_columns * STEREO_COLUMNS]
            .reshape(values.shape[0], n_columns, STEREO_COLUMNS)
            .sum(axis=2)
        )
        bands = pairwise(first_bins)
        return np.stack([columns[first : max(last, first + 1)].sum(axis=0) for first, last in bands])

    power_left, power_right = pooled(np.abs(left) ** 2), pooled(np.abs(right) ** 2)
    common = np.abs(pooled(left * right.conj()))
    difference = 10 * np.log10((power_left + 1e-9) / (power_right + 1e-9))
    return StereoCues(
        difference.clip(-MAX_LEVEL_DIFFERENCE_DB, MAX_LEVEL_DIFFERENCE_DB),
        common / np.sqrt(power_left * power_right + 1e-18),
        power_left + power_right,
    )


def stereo_errors(original: np.ndarray, decoded: np.ndarray, sample_rate: int) -> tuple[float, float]:
    """Mean |difference| of level differences (dB) and of coherence of (2, S) signals, where the original
    sounds.

    Raises:
        ValueError: a silent original.
    """
    wanted, found = stereo_cues(original, sample_rate), stereo_cues(decoded, sample_rate)
    audible = wanted.audible
    return (
        float(np.abs(wanted.level_difference_db - found.level_difference_db)[audible].mean()),
        float(np.abs(wanted.coherence - found.coherence)[audible].mean()),
    )


def resynthesise(codec: Codec, audio: Audio) -> tuple[Audio, float]:
    """What is left of sound at the codec's rate after encode and decode, and decode's seconds."""
    import torch

    with torch.inference_mode():
        latents = encode_audio(codec, audio)
        start = time.perf_counter()
        decoded = codec.decode(latents)[0].numpy()
        seconds = time.perf_counter() - start
    return Audio(decoded, codec.sample_rate).fitted(audio.duration_s), seconds


def measure(codec: Codec, audio: Audio, at_rate: int | None = None, plot: Path | None = None) -> CodecQuality:
    """All figures: of the mono sum (at the rate `at_rate`), and of the image; `plot` is a PNG to write."""
    original = audio.resampled(codec.sample_rate)
    decoded, seconds = resynthesise(codec, original)
    if plot is not None:
        plot_spectrograms(original, decoded, plot, plot.stem)
    rate = at_rate or codec.sample_rate
    quality = compare(original.resampled(rate).mono(), decoded.resampled(rate).mono(), rate)
    quality = replace(quality, decode_real_time_factor=seconds / original.duration_s)
    if original.n_channels != 2:
        return quality
    level, coherence = stereo_errors(original.samples, decoded.in_channels(2), codec.sample_rate)
    return replace(quality, level_difference_error_db=level, coherence_error=coherence)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table of the figures: a row for each file, and their means with 95 % intervals."""
    from tqdm import tqdm

    from flowmusic.api.pretrained import load_pretrained
    from flowmusic.evaluation.references import find_references, load_clip

    parser = argparse.ArgumentParser(prog="codec_quality", description=__doc__.partition("\n")[0])
    parser.add_argument("--files", nargs="+", required=True, type=Path, help="sound files, songs, folders")
    parser.add_argument("--n", type=int, help="at most so many, spread over the list (all)")
    parser.add_argument("--duration", type=float, default=10.0, help="seconds from the middle of each (10)")
    parser.add_argument("--checkpoint", help="model folder or hub id (default: the bundled model)")
    parser.add_argument("--rate", type=int, help="compare at this sample rate (default: the codec's)")
    parser.add_argument("--plots", type=Path, help="folder for spectrograms of each file, before and after")
    parser.add_argument("--out", type=Path, help="write the table here too (markdown)")
    options = parser.parse_args(arguments)
    references = find_references(options.files, options.n)
    codec = load_pretrained(options.checkpoint).codec
    found: dict[str, CodecQuality] = {}
    for item in tqdm(references, desc="codec"):
        clip = load_clip(item, options.duration, allow_shorter=True)
        plot = options.plots and options.plots / f"{clip.name}.png"
        found[clip.name] = measure(codec, clip.audio, options.rate, plot)
    names = [field.name for field in fields(CodecQuality)]
    rows: list[list[str | float | None]] = [
        [name, *(getattr(quality, figure) for figure in names)] for name, quality in found.items()
    ]
    rows.append(["mean [95 %]", *(str(average(list(found.values()))[figure]) for figure in names)])
    write_lines(markdown_table(["file", *names], rows), options.out)
    return 0


def average(qualities: Sequence[CodecQuality]) -> dict[str, Estimate]:
    """The mean of each figure over the clips where it applies."""
    return {
        field.name: mean(getattr(quality, field.name) for quality in qualities)
        for field in fields(CodecQuality)
    }


if __name__ == "__main__":
    raise SystemExit(main())
