"""How much of the drums a separator leaves in the rest, for recordings too, whose stems nobody has.

Drums are noise-like and short: librosa's median filters (Fitzgerald 2010) part the mix and the rest into a
percussive and a harmonic part. What a separator takes should come out of the first and leave the second.

    python -m flowmusic.evaluation.drum_residue --files RECORDINGS CORPUS/test --n 24
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from flowmusic.evaluation.references import (
    FoundReference,
    files_parser,
    find_references,
    load_clip,
    read_clip_stem,
)

if TYPE_CHECKING:
    from features.separators import DrumSeparator

WINDOW = 2048
COLUMNS = ("percussive_db", "harmonic_db", "true_percussive_db", "true_harmonic_db")


@dataclass(frozen=True)
class Residue:
    """Energy of the rest's percussive and harmonic part against the mix's, dB; and of the true rest's.

    The true ones are None for recordings. Without drums in the mix, 0 and 0 are right.
    """

    name: str
    percussive_db: float
    harmonic_db: float
    true_percussive_db: float | None = None
    true_harmonic_db: float | None = None


def left_db(mix: np.ndarray, rest: np.ndarray) -> tuple[float, float]:
    """Percussive and harmonic energy of `rest` (S,) in dB relative to those of `mix` (S,).

    Raises:
        ValueError: different lengths, or a mix that is silent.
    """
    import librosa

    if mix.shape != rest.shape or mix.ndim != 1:
        raise ValueError(f"expected two signals of one shape (S,), got {mix.shape} and {rest.shape}")
    if not np.any(mix):
        raise ValueError("expected an audible mix, got silence")
    parts = [librosa.decompose.hpss(librosa.stft(x, n_fft=WINDOW)) for x in (mix, rest)]
    harmonic, percussive = ([float((np.abs(part[kind]) ** 2).sum()) for part in parts] for kind in (0, 1))
    percussive_db, harmonic_db = (
        10.0 * float(np.log10(max(after, 1e-12 * before) / before)) if before > 0 else 0.0
        for before, after in (percussive, harmonic)
    )
    return percussive_db, harmonic_db


def residue(separator: DrumSeparator, reference: FoundReference, duration_s: float) -> Residue:
    """What the separator leaves of the middle of one reference."""
    clip = load_clip(reference, duration_s, allow_shorter=True)
    mix = clip.audio.mono()
    rest = mix - separator.separate(clip.audio).mono()
    if not reference.is_song:
        return Residue(reference.name, *left_db(mix, rest))
    drums = read_clip_stem(reference, clip, "drums").mono()
    return Residue(reference.name, *left_db(mix, rest), *left_db(mix, mix - drums))


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m flowmusic.evaluation.drum_residue`: a row a file, and their means."""
    from tqdm import tqdm

    from features.separators import SmallDemucsSeparator
    from flowmusic.evaluation.report import markdown_table, mean_of, write_lines

    parser = files_parser("drum_residue", "What separation leaves of the drums.")
    options = parser.parse_args(arguments)
    try:
        references, separator = find_references(options.files, options.n), SmallDemucsSeparator()
        found = [residue(separator, item, options.duration) for item in tqdm(references, desc="separation")]
    except ValueError as error:
        parser.error(str(error))
    rows: list[list[str | float | None]] = [[r.name, *(getattr(r, key) for key in COLUMNS)] for r in found]
    rows.append([f"mean of {len(found)}", *(mean_of(found, key) for key in COLUMNS)])
    write_lines(markdown_table(["file", *COLUMNS], rows), options.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
