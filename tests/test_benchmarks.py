"""The benchmarks of the ears and of the codec, on a song of a few strokes: whole commands, read as tables."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).parents[1]
RATE = 32_000
HITS_S = (1.0, 1.5, 2.0, 2.5, 3.0, 3.5)


def write_song(folder: Path) -> Path:
    """Four seconds: bursts of noise as drums, a tone as melody, another as backing."""
    folder.mkdir(parents=True)
    times_s = np.arange(4 * RATE) / RATE
    noise = np.random.default_rng(0).standard_normal(len(times_s))
    decay = sum(np.exp(-(times_s - hit) * 60.0) * (times_s >= hit) for hit in HITS_S)
    stems = {
        "drums": 0.3 * noise * decay,
        "melody": 0.1 * np.sin(2 * np.pi * 440.0 * times_s),
        "backing": 0.1 * np.sin(2 * np.pi * 110.0 * times_s),
    }
    for name, samples in stems.items():
        soundfile.write(folder / f"{name}.wav", samples.astype(np.float32), RATE, subtype="FLOAT")
    hits = [{"time_s": hit, "midi": 38, "velocity": 100} for hit in HITS_S]
    labels = {"chords": [], "melody": [], "drums": hits, "captions": [""]}
    (folder / "song.json").write_text(json.dumps(labels))
    return folder


def table(script: str, *arguments: str) -> dict[str, list[float]]:
    """Rows of the markdown table that a benchmark prints, by their first cell."""
    command = [sys.executable, str(ROOT / "benchmarks" / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.strip("|").split("|") for line in done.stdout.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in row] for row in rows[2:]]
    return {" ".join(row[:-4]): [float(cell) for cell in row[-4:]] for row in cells}


def test_drum_onsets_scores_settings_against_exact_strokes(tmp_path: Path) -> None:
    write_song(tmp_path / "songs" / "a")
    scores = table("drum_onsets.py", "--songs", str(tmp_path / "songs"), "--duration", "4")
    assert len(scores) == 12
    assert scores["2 3 0.09"][0] > 0.9  # the true stem


def test_codec_residue_true_magnitudes_are_nearest(tmp_path: Path) -> None:
    song = str(write_song(tmp_path / "songs" / "a"))
    rows = table("codec_residue.py", "--fit", song, "--n-fit", "1", "--test", song, "--n", "1")
    assert [name.split(" ")[0] for name in rows][:2] == ["as", "+"] and len(rows) == 9
    assert rows[next(name for name in rows if name.startswith("both"))][-1] < rows[next(iter(rows))][-1]
