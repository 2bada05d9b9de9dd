"""Settings of few steps are planned by evaluations, and one of them is run from references to the table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.steps import main, plan
from features.audio import write_audio

RATE = 16_000


def test_steps_are_planned_by_evaluations() -> None:
    settings = plan(["euler", "heun", "rk4"], [2, 4, 8], [1.0, 2.0])
    planned = {(s.solver, s.evaluations): s.steps for s in settings}
    assert planned == {
        ("euler", 2): 2, ("euler", 4): 4, ("euler", 8): 8, ("heun", 2): 1, ("heun", 4): 2, ("heun", 8): 4,
        ("rk4", 4): 1, ("rk4", 8): 2,
    }  # fmt: skip
    assert len(settings) == 2 * len(planned) == len(set(settings))
    with pytest.raises(ValueError, match="'dopri5' is no solver of fixed step"):
        plan(["dopri5"], [4], [1.0])
    with pytest.raises(ValueError, match="no solver of rk4"):
        plan(["rk4"], [2], [1.0])


def test_every_setting_makes_clips_of_its_own(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(4):
        times_s = np.arange(6 * RATE) / RATE
        tone = np.sin(2 * np.pi * 220 * 2 ** (number / 5) * times_s) * np.exp(-(times_s % 0.5) * 5)
        write_audio(tmp_path / "references" / f"{number}.wav", 0.3 * tone.astype(np.float32), RATE)
    words = ["--references", str(tmp_path / "references"), "--checkpoint", str(tiny_model), "--duration", "6"]
    words += ["--solvers", "euler", "--evaluations", "2", "--shifts", "1,2", "--out", str(tmp_path / "out")]
    main(words)
    rows = json.loads((tmp_path / "out" / "steps.json").read_text(encoding="utf-8"))
    assert [(row["steps"], row["time_shift"]) for row in rows] == [(2, 1.0), (2, 2.0)]
    assert len(list((tmp_path / "out" / "clips" / "all").glob("*.wav"))) == 2 * 4
    assert rows[0]["fidelity"]["across"]["value"] != rows[1]["fidelity"]["across"]["value"]
    assert "| resynthesis" in capsys.readouterr().out
