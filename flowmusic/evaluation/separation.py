"""How cleanly a drum separator takes the drums out of corpus songs, beside librosa's HPSS.

python -m flowmusic.evaluation.separation --songs CORPUS/test --n 32
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from features.audio import Audio
from flowmusic.evaluation.references import FoundReference, find_references, read_song_mix, read_stem

if TYPE_CHECKING:
    from features.separators import DrumSeparator

SILENT_RMS = 1e-3


@dataclass(frozen=True)
class Separation:
    """SDR in dB of one song's drum stem: by the separator, by HPSS, and of the untouched mix."""

    name: str
    separator_db: float
    hpss_db: float
    mix_db: float


def sdr_db(true: np.ndarray, estimate: np.ndarray) -> float:
    """Signal-to-distortion ratio 10 log10(|s|^2 / |s - e|^2) in dB of (S,) signals, over the whole clip.

    The estimate's level counts: nothing is rescaled.
    """
    if true.shape != estimate.shape:
        raise ValueError(f"expected two signals of one shape, got {true.shape} and {estimate.shape}")
    signal = float((true.astype(np.float64) ** 2).sum())
    noise = float(((true.astype(np.float64) - estimate) ** 2).sum())
    if signal == 0:
        raise ValueError("the SDR of a silent reference is undefined; expected a stem that sounds")
    return 10 * float(np.log10(signal / max(noise, 1e-12 * signal)))


def hpss_percussive(samples: np.ndarray) -> np.ndarray:
    """Percussive component of (S,) samples by librosa's median filtering at its default margin."""
    import librosa.effects

    return np.asarray(librosa.effects.percussive(samples), dtype=np.float32)


def separate_song(
    separator: DrumSeparator, reference: FoundReference, duration_s: float
) -> Separation | None:
    """SDRs on the middle of one corpus song; None where its drums are silent there."""
    mix, drums = read_song_mix(reference.path), read_stem(reference.path, "drums")
    first = max(0, (mix.n_samples - round(duration_s * mix.sample_rate)) // 2)
    span = slice(first, first + round(duration_s * mix.sample_rate))
    mixed, true = mix.mono()[span], drums.mono()[span]
    if np.sqrt((true**2).mean()) < SILENT_RMS:
        return None
    estimate = separator.separate(Audio(mixed[None], mix.sample_rate)).mono()
    return Separation(
        reference.name, sdr_db(true, estimate), sdr_db(true, hpss_percussive(mixed)), sdr_db(true, mixed)
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m flowmusic.evaluation.separation`: a table of SDRs, a row a song."""
    from tqdm import tqdm

    from features.separators import SmallDemucsSeparator
    from flowmusic.evaluation.report import markdown_table, mean_of, write_lines

    parser = argparse.ArgumentParser(
        prog="separation", description="SDR of the drum separator on corpus songs."
    )
    parser.add_argument(
        "--songs", nargs="+", required=True, type=Path, help="song folders, or folders of them"
    )
    parser.add_argument("--n", type=int, default=32, help="at most so many songs, spread over the list")
    parser.add_argument(
        "--duration", type=float, default=20.0, help="seconds taken from the middle of each song"
    )
    parser.add_argument("--out", type=Path, help="write the table here too (markdown)")
    options = parser.parse_args(arguments)
    try:
        songs = [item for item in find_references(options.songs, options.n) if item.is_song]
        if not songs:
            raise ValueError("no corpus songs (song.json and three stems) among --songs")
        separator = SmallDemucsSeparator()
        results = [
            separate_song(separator, song, options.duration) for song in tqdm(songs, desc="separation")
        ]
    except ValueError as error:
        parser.error(str(error))
    scored = [result for result in results if result is not None]
    columns = ("separator_db", "hpss_db", "mix_db")
    rows: list[list[str | float | None]] = [[r.name, *(getattr(r, key) for key in columns)] for r in scored]
    if scored:
        rows.append([f"mean of {len(scored)}", *(mean_of(scored, key) for key in columns)])
    rows.append([f"without drums, left out: {len(results) - len(scored)}", None, None, None])
    write_lines(markdown_table(["song", *columns], rows), options.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
