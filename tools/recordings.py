"""Recordings out of unpacked Debian packages, as mono or stereo wav files by split.

The list with authors and licences is `configs/data/recordings.json`.
"""

from __future__ import annotations

import argparse
import json
import logging
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from features.audio import normalise_peak, read_audio, write_audio

log = logging.getLogger(__name__)
SUFFIXES = (".ogg", ".opus", ".flac", ".wav", ".mp3")


def convert(listing: Path, packages: Path, out: Path, sample_rate: int = 32000) -> int:
    """Write OUT/<split>/<package>-<name>.wav for every listed track; returns how many were written.

    `packages` holds one folder per package, as `dpkg -x` unpacks it; tracks within an archive are unpacked
    beside it. Finished files are kept. FileNotFoundError names what is not there.
    """
    tracks = []
    for entry in json.loads(listing.read_text(encoding="utf-8"))["sets"]:
        folder = _folder_of(entry, packages / entry["package"])
        for name in entry["files"]:
            found = [path for suffix in SUFFIXES if (path := folder / f"{name}{suffix}").is_file()]
            if not found:
                raise FileNotFoundError(
                    f"{folder}/{name} ({'/'.join(SUFFIXES)}) is not there; unpack {entry['package']}"
                )
            target = out / entry["split"] / f"{entry['package']}-{name.replace(' ', '_')}.wav"
            tracks.append((found[0], target))
    missing = [(source, target) for source, target in tracks if not target.is_file()]
    for source, target in tqdm(missing, unit="track"):
        audio = read_audio(source, sample_rate)
        samples = audio.in_channels(min(audio.n_channels, 2))
        write_audio(target, normalise_peak(samples, 0.8), sample_rate)
    return len(missing)


def _folder_of(entry: dict[str, Any], package: Path) -> Path:
    """Where the tracks of a set lie; those of a zip archive are unpacked first."""
    if "archive" not in entry:
        return package / entry["folder"]
    place = package / "unpacked"
    with zipfile.ZipFile(package / entry["archive"]) as archive:
        wanted = [name for name in archive.namelist() if name.startswith(f"{entry['folder']}/")]
        archive.extractall(place, [name for name in wanted if not (place / name).exists()])
    return place / entry["folder"]


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m tools.recordings`."""
    parser = argparse.ArgumentParser(prog="recordings", description="Tracks of packages, as wav files.")
    parser.add_argument("--listing", type=Path, default=Path("configs/data/recordings.json"))
    parser.add_argument(
        "--packages", type=Path, required=True, help="folder with one unpacked package a subfolder"
    )
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        log.info("%d tracks written", convert(options.listing, options.packages, options.out))
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
