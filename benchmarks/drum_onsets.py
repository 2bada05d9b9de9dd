"""Which settings of the onset detector hear drum strokes best, against the exact strokes of corpus songs.

    python benchmarks/drum_onsets.py --songs corpus/valid --n 40

Prints a markdown table of mean F1 within 50 ms: on true drum stems, on stems separated from the mix, on stems
separated from the codec's resynthesis of the mix, and of the last against the onsets of the second.
"""

from __future__ import annotations

import argparse
import sys
from itertools import product
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from features.audio import Audio
from features.drums import SAMPLE_RATE, onsets
from features.separators import DrumSeparator, SmallDemucsSeparator
from flowmusic.api.pretrained import load_pretrained
from flowmusic.codec.protocol import Codec
from flowmusic.evaluation.adherence import drum_onset_f1
from flowmusic.evaluation.codec_quality import resynthesise
from flowmusic.evaluation.references import FoundReference, find_references, load_clip, read_clip_stem
from flowmusic.evaluation.report import markdown_table

LAGS = ((1, 1), (2, 3), (3, 1))
DELTAS = (0.03, 0.06, 0.09, 0.12)
COMPARED = ((0, 1), (0, 2), (0, 3), (2, 3))
"""Of exact strokes, true stem, separated stem, and separated after the codec."""


def stems_of(
    song: FoundReference, codec: Codec, separator: DrumSeparator, duration_s: float
) -> tuple[np.ndarray, list[np.ndarray]] | None:
    """Exact strokes, and the drum stem (S,) as it is, separated, and separated after the codec."""
    clip = load_clip(song, duration_s)
    if clip.labels is None or clip.labels.onsets_s.size < 3:
        return None
    mix = clip.audio.resampled(SAMPLE_RATE)
    drums = read_clip_stem(song, clip, "drums").resampled(SAMPLE_RATE).mono()
    extracted = [mix, resynthesise(codec, mix)[0]]
    stems = [separator.separate(Audio(sound.mono()[None], SAMPLE_RATE)).mono() for sound in extracted]
    return clip.labels.onsets_s, [drums, *stems]


def main() -> None:
    parser = argparse.ArgumentParser(description="Onset detection against exact strokes.")
    parser.add_argument("--songs", type=Path, required=True, help="corpus songs that are not reported on")
    parser.add_argument("--n", type=int, default=40)
    parser.add_argument("--duration", type=float, default=10.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    codec, separator = load_pretrained(None).codec, SmallDemucsSeparator()
    songs = [song for song in find_references([options.songs], options.n) if song.is_song]
    found = [stems_of(song, codec, separator, options.duration) for song in tqdm(songs, desc="separation")]
    kept = [item for item in found if item is not None]
    rows: list[list[str | float | None]] = []
    for (lag, bands), delta in product(LAGS, DELTAS):
        times = [
            [exact, *(onsets(x, lag=lag, max_bands=bands, delta=delta) for x in stems)]
            for exact, stems in kept
        ]
        scores = [[drum_onset_f1(song[i], song[j]) for song in times] for i, j in COMPARED]
        means = [float(np.mean([s for s in column if s is not None])) for column in scores]
        rows.append([str(lag), str(bands), f"{delta:g}", *means])
    columns = ["lag", "max_bands", "delta", "true stem", "separated", "after the codec", "codec / separated"]
    sys.stdout.write(f"{len(kept)} songs with drums\n\n{markdown_table(columns, rows)}\n")


if __name__ == "__main__":
    main()
