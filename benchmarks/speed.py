"""Seconds and memory of what a user waits for, each measured in a process of its own.

    python -m benchmarks.speed --threads 2
    python -m benchmarks.speed --threads 2 --busy 2 --dtypes auto   beside two busy processes
    python -m benchmarks.speed --threads 2 --long                   a clip of three minutes as well

Prints a table: the command line from a cold start, with a text and a chart, with three recordings, and that
of `make demo`; the rate of matrix products of the machine; extracting all three controls of a reference;
clips at the defaults in a running process, in each dtype; peak memory.
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
LONG_S = 180.0
MIB_PER_RSS_UNIT = 1 / 1024 if sys.platform != "darwin" else 1 / 1024**2
CHART = "Am | F C | G7 Csus4"
REPEATS = 5


@dataclass(frozen=True)
class Figure:
    """One row of the table."""

    name: str
    seconds: float
    peak_mib: float | None = None


def reference_audio(path: Path, duration_s: float) -> tuple[np.ndarray, int]:
    """`duration_s` seconds of a recording, repeated where it is shorter; (S,) and its rate."""
    from features.audio import read_audio

    audio = read_audio(path)
    n_samples = round(duration_s * audio.sample_rate)
    return np.resize(audio.mono(), n_samples), audio.sample_rate


def time_products(options: argparse.Namespace) -> dict[str, float]:
    """Products of two matrices of 1024 x 1024; torch computes those of the flow in the same library."""
    import torch

    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.randn(1024, 1024).to(dtype)
        best = min(_timed(lambda a=a: a @ a) for _ in range(20))
        seconds[f"a product of 1024 x 1024 in {str(dtype)[6:]} ({2.147 / best:.0f} GFLOP/s)"] = best
    return seconds


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
    from features.extract import extract_controls
    from flowmusic import FlowMusic

    model = FlowMusic.from_pretrained(options.checkpoint, dtype=options.dtype)
    loaded = time.perf_counter()
    controls = extract_controls(chords=CHART, duration_s=options.duration)
    settings = {"text": "a calm piano trio", "controls": controls, "duration": options.duration}
    first = _timed(lambda: model.generate(**settings))
    clips = [model.generate(**settings, seed=seed) for seed in range(1, REPEATS + 1)]
    stages = {
        name: float(np.median([clip.info.seconds[name] for clip in clips])) for name in clips[0].info.seconds
    }
    where = f"generate ({clips[0].info.dtype})"
    return {
        f"{where}: imports, model loaded": loaded - start,
        f"{where}: first clip": first,
        f"{where}: a clip at the defaults (median of {REPEATS})": sum(stages.values()),
        **{f"{where}: of this, {name}": stages[name] for name in ("sampling", "decoding")},
    }


def time_long(options: argparse.Namespace) -> dict[str, float]:
    """A clip of LONG_S seconds at the defaults, extracting its drums included."""
    from flowmusic import FlowMusic

    model = FlowMusic.from_pretrained(options.checkpoint, dtype=options.dtype)
    drums = reference_audio(EXAMPLES / "drums.ogg", LONG_S)
    name = f"long ({model.model.dtype_name}): a clip of {LONG_S:g} s with drums and a chart"
    return {name: _timed(lambda: model.generate(drums=drums, chords=CHART, duration=LONG_S))}


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


STAGES: dict[str, Callable[[argparse.Namespace], dict[str, float]]] = {
    "products": time_products,
    "features": time_features,
    "generate": time_generation,
    "long": time_long,
}
OF_A_DTYPE = ("generate", "long")


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


def commands(folder: Path) -> dict[str, list[str]]:
    """What is typed into a shell, by what it is."""
    recordings = [f"--{role}={EXAMPLES / f'{role}.ogg'}" for role in ("drums", "melody")]
    recordings += [f"--chords={EXAMPLES / 'melody.ogg'}", "--duration=10"]
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").split("\ndemo: ")[1].split("\t@echo")[0]
    demo = shlex.split(recipe.partition("\n")[2].replace("\\\n", " ").replace("$(DEMO)", str(folder)))[1:]
    generate = ["generate", "--overwrite", "-o", str(folder / "clip.wav")]
    return {
        "flowmusic --help": ["--help"],
        "flowmusic generate, text and chart": [
            *generate,
            "--text",
            "calm piano",
            "--chords",
            "Am | F | C | G7",
        ],
        "flowmusic generate, three recordings never seen": [*generate, *recordings, "--no-cache"],
        "make demo, installed: clip, scores and plot": [*demo, "--no-cache"],
    }


@contextmanager
def beside(n_busy: int) -> Iterator[None]:
    """Beside so many processes that never rest."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(n_busy)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()


def measure(options: argparse.Namespace) -> Iterator[Figure]:
    """Every row, in order."""
    with tempfile.TemporaryDirectory() as folder:
        for name, words in commands(Path(folder)).items():
            runs = [run_child([sys.executable, "-m", "flowmusic", *words], options.threads) for _ in range(3)]
            yield Figure(f"{name} (best of 3)", min(run[1] for run in runs), runs[0][2])
    for stage in STAGES:
        if stage == "long" and not options.long:
            continue
        for dtype in options.dtypes if stage in OF_A_DTYPE else ("auto",):
            command = [sys.executable, str(Path(__file__).resolve()), "--stage", stage, "--dtype", dtype]
            command += ["--duration", str(options.duration), "--reference", str(options.reference.resolve())]
            command += ["--checkpoint", options.checkpoint] if options.checkpoint else []
            output, _, peak_mib = run_child(command, options.threads)
            for name, seconds in json.loads(output.splitlines()[-1]).items():
                yield Figure(name, seconds, peak_mib)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--reference", type=Path, default=EXAMPLES / "melody.ogg", help="a recording to extract controls of"
    )
    parser.add_argument(
        "--duration", type=float, default=10.0, metavar="SECONDS", help="of reference and clip (10)"
    )
    parser.add_argument("--checkpoint", metavar="MODEL", help="a model's folder (the bundled model)")
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count() or 1, help="OMP_NUM_THREADS (all cores)"
    )
    parser.add_argument("--busy", type=int, default=0, metavar="N", help="beside so many busy processes (0)")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "auto"], help="of clips (float32 auto)")
    parser.add_argument("--long", action="store_true", help="a clip of three minutes as well")
    parser.add_argument("--stage", choices=tuple(STAGES), help=argparse.SUPPRESS)
    parser.add_argument("--dtype", default="auto", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        sys.stdout.write(json.dumps(STAGES[options.stage](options)) + "\n")
        return 0
    if not options.reference.is_file():
        parser.error(f"--reference {options.reference} does not exist; expected a sound file")
    from flowmusic.evaluation.report import markdown_table

    load = os.getloadavg()[0]
    with beside(options.busy):
        figures = list(measure(options))
    rows: list[list[str | float | None]] = [
        [figure.name, f"{figure.seconds:.3g}", f"{figure.peak_mib:.0f}" if figure.peak_mib else None]
        for figure in figures
    ]
    sys.stdout.write(
        f"{options.duration:g} s, {options.threads} threads, beside {options.busy} busy processes, "
        f"load average before {load:.1f}\n\n"
    )
    sys.stdout.write(markdown_table(["what", "seconds", "peak MiB of its process"], rows) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
