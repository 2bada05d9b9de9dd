"""How much of a recording's stereo image is left: level differences and coherence of the two channels.

Both are the cues by which the ear places sound (Blauert, "Spatial Hearing"; Breebaart et al. 2005), measured
in bands of a third of an octave over some 130 ms, where the original is less than 50 dB below its loudest.

    python -m flowmusic.evaluation.stereo_quality --files corpus/test evaluation/clips/all

tells how wide several collections of sound are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from features.audio import Audio

WINDOW, HOP, COLUMNS = 2048, 1024, 4
LOW_HZ, HIGH_HZ, BANDS_PER_OCTAVE = 100.0, 12_800.0, 3
AUDIBLE_DB, MAX_DIFFERENCE_DB = -50.0, 20.0


@dataclass(frozen=True)
class StereoCues:
    """Of (2, S) samples, (N, T) each.

    level_difference_db  left over right, at most 20 dB either way
    coherence            |correlation| of the channels, 0 to 1
    power                of both channels
    """

    level_difference_db: np.ndarray
    coherence: np.ndarray
    power: np.ndarray

    @property
    def extracted(self) -> np.ndarray:
        """Where there is sound, (N, T) bool. ValueError where it is all silent."""
        loudest = float(self.power.max(initial=0.0))
        if loudest <= 0:
            raise ValueError("silence has no stereo image; expected sound")
        return self.power > loudest * 10 ** (AUDIBLE_DB / 10)


def stereo_cues(samples: np.ndarray, sample_rate: int) -> StereoCues:
    import librosa

    left, right = (librosa.stft(channel, n_fft=WINDOW, hop_length=HOP) for channel in samples)
    n_bands = round(np.log2(min(HIGH_HZ, sample_rate / 2) / LOW_HZ) * BANDS_PER_OCTAVE)
    edges = LOW_HZ * 2.0 ** (np.arange(n_bands + 1) / BANDS_PER_OCTAVE)
    first_bins = np.searchsorted(librosa.fft_frequencies(sr=sample_rate, n_fft=WINDOW), edges)

    def pooled(values: np.ndarray) -> np.ndarray:
        """Sums over bands and columns: (F, T') -> (N, T)."""
        n_columns = values.shape[1] // COLUMNS
        columns = values[:, : n_columns * COLUMNS].reshape(values.shape[0], n_columns, COLUMNS).sum(axis=2)
        bands = pairwise(first_bins)
        return np.stack([columns[first : max(last, first + 1)].sum(axis=0) for first, last in bands])

    power_left, power_right = pooled(np.abs(left) ** 2), pooled(np.abs(right) ** 2)
    common = np.abs(pooled(left * right.conj()))
    difference = 10 * np.log10((power_left + 1e-9) / (power_right + 1e-9))
    return StereoCues(
        difference.clip(-MAX_DIFFERENCE_DB, MAX_DIFFERENCE_DB),
        common / np.sqrt(power_left * power_right + 1e-18),
        power_left + power_right,
    )


def stereo_errors(original: np.ndarray, decoded: np.ndarray, sample_rate: int) -> tuple[float, float]:
    """Mean |difference| of level differences (dB) and of coherence. ValueError where the original is silent.

    original, decoded: (2, S).
    """
    wanted, found = stereo_cues(original, sample_rate), stereo_cues(decoded, sample_rate)
    extracted = wanted.extracted
    return (
        float(np.abs(wanted.level_difference_db - found.level_difference_db)[extracted].mean()),
        float(np.abs(wanted.coherence - found.coherence)[extracted].mean()),
    )


@dataclass(frozen=True)
class Width:
    """Of one sound: mean |level difference| in dB, mean coherence, of all that is heard."""

    level_difference_db: float
    coherence: float


def width(audio: Audio) -> Width:
    """ValueError where the sound is silent."""
    cues = stereo_cues(audio.in_channels(2), audio.sample_rate)
    differences = np.abs(cues.level_difference_db)[cues.extracted]
    return Width(float(differences.mean()), float(cues.coherence[cues.extracted].mean()))


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m flowmusic.evaluation.stereo_quality`: a row for each of the files or folders."""
    from tqdm import tqdm

    from flowmusic.evaluation.references import files_parser, find_references, load_clip
    from flowmusic.evaluation.report import markdown_table, mean_of, write_lines

    parser = files_parser("stereo_quality", "How wide sounds are; each file or folder is a row.")
    options = parser.parse_args(arguments)
    rows: list[list[str | float | None]] = []
    try:
        for path in options.files:
            found = [
                width(load_clip(item, options.duration, allow_shorter=True).audio)
                for item in tqdm(find_references([path], options.n), desc=str(path))
            ]
            means = [mean_of(found, key) for key in ("level_difference_db", "coherence")]
            rows.append([str(path), str(len(found)), *means])
    except ValueError as error:
        parser.error(str(error))
    write_lines(markdown_table(["files", "n", "level_difference_db", "coherence"], rows), options.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
