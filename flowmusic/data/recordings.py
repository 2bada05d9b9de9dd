"""Recordings out of unpacked Debian packages, as mono or stereo wav files by split.

The list with authors and licences is `configs/data/recordings.json`.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

from tqdm import tqdm

from features.audio import normalise_peak, read_audio, write_audio

log = logging.getLogger(__name__)
SUFFIXES = (".ogg", ".opus", ".flac", ".wav", ".mp3")


def convert(listing: Path, packages: Path, out: Path, sample_rate: int = 32000) -> int:
    """Write OUT/<split>/<package>-<name>.wav for every listed track; returns how many were written.

    `packages` holds one folder per package, as `dpkg -x` unpacks it. Finished files are kept.
    FileNotFoundError names a listed track that is not there.
    """
    tracks = []
    for entry in json.loads(listing.read_text())["sets"]:
        for name in entry["files"]:
            folder = packages / entry["package"] / entry["folder"]
            found = [
                folder / f"{name}{suffix}" for suffix in SUFFIXES if (folder / f"{name}{suffix}").is_file()
            ]
            if not found:
                raise FileNotFoundError(
                    f"{folder}/{name} ({'/'.join(SUFFIXES)}) is not there; unpack {entry['package']}"
                )
            tracks.append(
                (found[0], out / entry["split"] / f"{entry['package']}-{name.replace(' ', '_')}.wav")
            )
    written = 0
    for source, target in tqdm(tracks, unit="track"):
        if not target.is_file():
            audio = read_audio(source, sample_rate)
            samples = audio.in_channels(min(audio.n_channels, 2))
            write_audio(target, normalise_peak(samples, 0.8), sample_rate)
            written += 1
    return written


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listing", type=Path, default=Path("configs/data/recordings.json"))
    parser.add_argument(
        "--packages", type=Path, required=True, help="folder with one unpacked package a subfolder"
    )
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    log.info("%d tracks written", convert(args.listing, args.packages, args.out))


if __name__ == "__main__":
    main()
