"""Clips an hour of `flowmusic batch` against a loop of single calls, measured in turn on one machine.

    python -m benchmarks.batch --clips 40 --devices 2

Both make the same clips from nothing: each side has an empty cache. The ratio of the two is what counts;
the times themselves depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from flowmusic.batch.sources import write_manifest

ROOT = Path(__file__).resolve().parents[1]
REFERENCES = (ROOT / "examples" / "drums.ogg", ROOT / "examples" / "melody.ogg")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--duration", type=float, default=8.0)
    parser.add_argument("--devices", type=int, default=2)
    parser.add_argument("--scores", action="store_true", help="the batch scores every clip as well")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        single_s = loop_of_calls(options, folder)
        batch_s = one_batch(options, folder)
    sys.stdout.write("| | seconds | clips an hour |\n| --- | --- | --- |\n")
    for what, seconds in (("loop of single calls", single_s), ("batch", batch_s)):
        sys.stdout.write(f"| {what} | {seconds:.1f} | {3600 * options.clips / seconds:.0f} |\n")
    sys.stdout.write(f"\nratio {single_s / batch_s:.2f} (load average {os.getloadavg()[0]:.1f})\n")


def rows(options: argparse.Namespace) -> list[dict[str, object]]:
    """Processes take rows by turns; each of them gets rows of both references."""
    sources = [str(REFERENCES[index // options.devices % len(REFERENCES)]) for index in range(options.clips)]
    return [
        {
            "drums": sources[index],
            "chords": sources[index],
            "duration": options.duration,
            "seed": index,
        }
        for index in range(options.clips)
    ]


def loop_of_calls(options: argparse.Namespace, folder: Path) -> float:
    environment = os.environ | {"FLOWMUSIC_CACHE": str(folder / "cache-single")}
    started = time.perf_counter()
    for index, row in enumerate(rows(options)):
        arguments = [part for key, value in row.items() for part in (f"--{key}", str(value))]
        command = [sys.executable, "-m", "flowmusic", "generate", *arguments, "-o", f"{folder}/{index}.wav"]
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def one_batch(options: argparse.Namespace, folder: Path) -> float:
    environment = os.environ | {"FLOWMUSIC_CACHE": str(folder / "cache-batch"), "OMP_NUM_THREADS": "1"}
    jobs = write_manifest(folder / "jobs.jsonl", rows(options))
    command = [sys.executable, "-m", "flowmusic", "batch", str(jobs), "--out", str(folder / "out")]
    command += ["--devices", str(options.devices), "--workers", "0"]
    command += [] if options.scores else ["--no-scores"]
    started = time.perf_counter()
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
