"""Fidelity and novelty from the folder of an evaluation to their reports."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from features.audio import write_audio
from flowmusic.evaluation import fidelity, novelty

RATE = 16_000
NAMES = [f"song{i}" for i in range(4)]


def sound(number: int, kind: int, duration_s: float = 6.0) -> np.ndarray:
    """A tone with its octave; kinds differ in noise and in what is plucked."""
    rng, times_s = np.random.default_rng(10 * number + kind), np.arange(round(duration_s * RATE)) / RATE
    f0_hz = 220 * 2 ** (number / 7)
    tone = np.sin(2 * np.pi * f0_hz * times_s) + 0.5 * np.sin(4 * np.pi * f0_hz * times_s)
    plucked = tone * np.exp(-(times_s % (0.4 + 0.1 * number)) * 6)
    return (0.2 * plucked + 0.02 * kind * rng.standard_normal(len(times_s))).astype(np.float32)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """References, an evaluation whose clips are noisier, and a training set that holds one of the clips."""
    root = tmp_path_factory.mktemp("reports")
    for i, name in enumerate(NAMES):
        write_audio(root / "references" / f"{name}.wav", sound(i, 0, 7.0), RATE)
        write_audio(root / "evaluation" / "clips" / "all" / f"{name}.wav", sound(i, 3), RATE)
        write_audio(root / "evaluation" / "clips" / "resynthesis" / f"{name}.wav", sound(i, 1), RATE)
    write_audio(root / "training" / "copied.wav", sound(2, 3), RATE)
    write_audio(root / "training" / "noise.wav", sound(3, 9), RATE)
    settings = {"duration_s": 6.0, "references": NAMES}
    (root / "evaluation" / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    return root


def test_fidelity_report(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folders / "fidelity.md"
    arguments = [
        "--references",
        str(folders / "references"),
        "--evaluations",
        f"new={folders / 'evaluation'}",
    ]
    assert fidelity.main([*arguments, "--out", str(out)]) == 0
    assert capsys.readouterr().out == out.read_text()
    rows = {row["name"]: row for row in json.loads(out.with_suffix(".json").read_text())["rows"]}
    assert list(rows) == ["references", "resynthesis", "new"]
    assert rows["references"]["whole"] is None and rows["new"]["n_patches"] == 4 * 3
    # The noisier, the further away.
    assert 0 < rows["resynthesis"]["whole"] < rows["new"]["whole"]
    assert rows["references"]["across"] < rows["new"]["across"]


def test_novelty_report_finds_the_copy(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folders / "novelty.md"
    arguments = ["--references", str(folders / "references"), "--training", str(folders / "training")]
    evaluation = str(folders / "evaluation")
    assert novelty.main([*arguments, "--evaluations", evaluation, "--out", str(out)]) == 0
    report = json.loads(out.with_suffix(".json").read_text())
    closest = report["closest"]["evaluation"][0]
    assert (closest["name"], closest["neighbour"]) == ("song2", "copied")
    assert closest["similarity"] == pytest.approx(1.0, abs=1e-3)
    assert "nearest of 2 training songs" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["fidelity", "novelty"])
def test_what_does_not_fit_is_named(
    name: str, folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main = fidelity.main if name == "fidelity" else novelty.main
    training = [] if name == "fidelity" else ["--training", str(folders / "training")]
    cases = {
        "holds no evaluation": [str(folders / "references"), str(tmp_path)],
        "holds no 'song0', which the evaluation": [str(folders / "training"), str(folders / "evaluation")],
        "does not exist": [str(tmp_path / "nowhere"), str(folders / "evaluation")],
    }
    for expected, (references, evaluation) in cases.items():
        with pytest.raises(SystemExit) as stopped:
            main(["--references", references, "--evaluations", evaluation, *training])
        assert stopped.value.code == 2
        assert expected in capsys.readouterr().err
