"""Seconds and memory of what a user waits for, each measured in a process of its own.

    python -m benchmarks.speed --reference examples/melody.ogg --threads 2

Prints a table: `flowmusic --help`; loading the extractors and extracting all three controls of
a reference; loading the model, sampling and decoding a clip at the defaults; the command of
`make demo` with its plot; peak memory. `--long` adds a clip of three minutes that follows a
recording's drums and a chart.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
LONG_S = 180.0
DEFAULT_REFERENCE = ROOT / "examples" / "melody.ogg"
MIB_PER_RSS_UNIT = 1 / 1024 if sys.platform != "darwin" else 1 / 1024**2


@dataclass(frozen=True)
class Figure:
    """One row of the table; `ratio` is seconds of computing for a second of sound."""

    name: str
    seconds: float
    ratio: float | None
    peak_mib: float | None


def reference_audio(path: Path, duration_s: float) -> tuple[np.ndarray, int]:
    """`duration_s` seconds of a recording, repeated where it is shorter; (S,) and its rate."""
    from features.audio import read_audio

    audio = read_audio(path)
    n_samples = round(duration_s * audio.sample_rate)
    return np.resize(audio.mono(), n_samples), audio.sample_rate


def time_features(options: argparse.Namespace) -> dict[str, float]:
    """Drums, melody and chords of one recording, without a cache."""
    start = time.perf_counter()
    from features.audio import Audio
    from features.extract import Extractors, extract_controls

    samples, sample_rate = reference_audio(options.reference, options.duration)
    audio = Audio(samples[None], sample_rate)
    extractors = Extractors()
    made = (extractors.separator, extractors.melody, extractors.chords)
    loaded = time.perf_counter()
    extract_controls(audio, audio, audio, options.duration, extractors)
    first = time.perf_counter()
    extract_controls(audio, audio, audio, options.duration, extractors)
    again = time.perf_counter()
    return {
        f"features: imports, {len(made)} extractors loaded": loaded - start,
        "features: first recording": first - loaded,
        "features: every further one": again - first,
    }


def time_generation(options: argparse.Namespace) -> dict[str, float]:
    """A clip at the defaults, from controls that are known already."""
    start = time.perf_counter()
    import torch

    from features.extract import extract_controls
    from flowmusic import FlowMusic

    model = FlowMusic.from_pretrained(options.checkpoint)
    loaded = time.perf_counter()
    controls = extract_controls(chords="Am | F C | G7 Csus4", duration_s=options.duration)
    model.generate(text="a calm piano trio", controls=controls, duration=1.0)
    warm = time.perf_counter()
    clip = model.generate(text="a calm piano trio", controls=controls, duration=options.duration)
    made = time.perf_counter()
    latents = clip.latents[None]
    with torch.inference_mode():
        model.model.codec.decode(latents)
    decoded = time.perf_counter()
    return {
        "generate: imports, model loaded": loaded - start,
        "generate: first clip (1 s, with the text encoder)": warm - loaded,
        "generate: a clip at the defaults": made - warm,
        "generate: of this, decoding": decoded - made,
    }


def time_long(options: argparse.Namespace) -> dict[str, float]:
    """A clip of LONG_S seconds at the defaults, extracting its drums included."""
    start = time.perf_counter()
    from flowmusic import FlowMusic

    model = FlowMusic.from_pretrained(options.checkpoint)
    loaded = time.perf_counter()
    drums = reference_audio(ROOT / "examples" / "drums.ogg", LONG_S)
    model.generate(drums=drums, chords="Am | F C | G7 Csus4", duration=LONG_S)
    return {
        "long: imports, model loaded": loaded - start,
        f"long: a clip of {LONG_S:g} s with drums and a chart": time.perf_counter() - loaded,
    }


STAGES: dict[str, Callable[[argparse.Namespace], dict[str, float]]] = {
    "features": time_features,
    "generate": time_generation,
    "long": time_long,
}
OPTIONAL = ("long",)


def run_child(command: list[str], threads: int) -> tuple[str, float, float]:
    """Standard output, seconds and peak memory in MiB of a fresh process."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(command)} failed with exit code {os.waitstatus_to_exitcode(status)}")
    return output, time.perf_counter() - start, usage.ru_maxrss * MIB_PER_RSS_UNIT


def demo_command(folder: Path) -> list[str]:
    """The command of `make demo`, as the Makefile has it, but for a folder of ours and without a cache."""
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").split("\ndemo: ")[1].split("\t@echo")[0]
    words = shlex.split(recipe.partition("\n")[2].replace("\\\n", " ").replace("$(DEMO)", str(folder)))
    return [sys.executable, "-m", "flowmusic", *words[1:], "--no-cache"]


def measure(options: argparse.Namespace) -> list[Figure]:
    """Every row, in order."""
    runs = [run_child([sys.executable, "-m", "flowmusic", "--help"], options.threads) for _ in range(3)]
    help_s, help_mib = min(run[1] for run in runs), runs[0][2]
    figures = [Figure("flowmusic --help (best of 3)", help_s, None, help_mib)]
    for stage in STAGES:
        if stage in OPTIONAL and not getattr(options, stage):
            continue
        command = [sys.executable, str(Path(__file__).resolve()), "--stage", stage]
        command += ["--duration", str(options.duration), "--reference", str(options.reference.resolve())]
        command += ["--checkpoint", options.checkpoint] if options.checkpoint else []
        output, _, peak_mib = run_child(command, options.threads)
        for name, seconds in json.loads(output.splitlines()[-1]).items():
            scaled = not ("loaded" in name or "first clip" in name)
            duration_s = LONG_S if stage == "long" else options.duration
            figures.append(Figure(name, seconds, seconds / duration_s if scaled else None, peak_mib))
    with tempfile.TemporaryDirectory() as folder:
        _, demo_s, demo_mib = run_child(demo_command(Path(folder)), options.threads)
    figures.append(Figure("make demo, installed: clip and plot of the examples", demo_s, None, demo_mib))
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Seconds and memory of features, generation, decoding, the demo, --help."
    )
    parser.add_argument("--reference", type=Path, default=DEFAULT_REFERENCE, help="a recording to follow")
    parser.add_argument(
        "--duration", type=float, default=10.0, metavar="SECONDS", help="of reference and clip (10)"
    )
    parser.add_argument("--checkpoint", metavar="MODEL", help="a model's folder (the bundled model)")
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count() or 1, help="OMP_NUM_THREADS (all cores)"
    )
    parser.add_argument("--long", action="store_true", help="a clip of three minutes as well")
    parser.add_argument("--stage", choices=tuple(STAGES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        sys.stdout.write(json.dumps(STAGES[options.stage](options)) + "\n")
        return 0
    if not options.reference.is_file():
        parser.error(f"--reference {options.reference} does not exist; expected a sound file")
    from flowmusic.evaluation.report import markdown_table

    load = os.getloadavg()[0]
    rows: list[list[str | float | None]] = [
        [
            figure.name,
            f"{figure.seconds:.2f}",
            figure.ratio,
            f"{figure.peak_mib:.0f}" if figure.peak_mib else None,
        ]
        for figure in measure(options)
    ]
    header = ["what", "seconds", "of real time", "peak MiB of its process"]
    sys.stdout.write(f"{options.duration:g} s, {options.threads} threads, load average before {load:.1f}\n\n")
    sys.stdout.write(markdown_table(header, rows) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
