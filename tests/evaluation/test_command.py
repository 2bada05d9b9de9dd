"""`flowmusic evaluate` from references to its tables: adherence, fidelity, novelty, second extractors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from features.audio import read_audio, write_audio
from flowmusic.api.model import FlowMusic
from flowmusic.cli import main
from flowmusic.codec.protocol import encode_audio
from flowmusic.evaluation.references import find_references, load_clip
from tests.installed import needs

RATE = 16_000


def sound(number: int, duration_s: float = 7.0) -> np.ndarray:
    """A plucked tone with its octave over a beat of noise, (S,)."""
    rng, times_s = np.random.default_rng(number), np.arange(round(duration_s * RATE)) / RATE
    f0_hz = 220 * 2 ** (number / 7)
    tone = np.sin(2 * np.pi * f0_hz * times_s) + 0.5 * np.sin(4 * np.pi * f0_hz * times_s)
    beat = rng.standard_normal(len(times_s)) * np.exp(-(times_s % 0.5) * 60)
    return (0.2 * tone * np.exp(-(times_s % (0.4 + 0.1 * number)) * 6) + 0.1 * beat).astype(np.float32)


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("references")
    for number in range(4):
        write_audio(folder / f"song{number}.wav", sound(number), RATE)
    return folder


@needs("basic_pitch", "madmom")
def test_one_run_gives_adherence_fidelity_novelty_and_second_judges(
    references: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_audio(tmp_path / "training" / "copied.wav", sound(2), RATE)
    write_audio(tmp_path / "training" / "noise.wav", sound(9), RATE)
    words = ["evaluate", "--references", str(references), "--checkpoint", str(tiny_model)]
    words += [
        "--duration",
        "4.5",
        "--protocols",
        "all",
        "--second-extractors",
        "--fidelity",
        "--chord-recogniser",
        "madmom",
    ]
    words += ["--training", str(tmp_path / "training"), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert text == (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "basic-pitch in the harmonic part (melody), madmom (chords)" in text and "Missing" not in text
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    judges = {row["judge"] for row in report["tables"]["all"] if row["score"]["n"]}
    assert judges == {"same extractors", "second extractors"}
    assert {row["name"]: row["across"]["n"] for row in report["fidelity"]} == {
        "references": 4, "resynthesis": 4, "generated": 4,
    }  # fmt: skip
    unseen = report["novelty"][0]
    assert unseen["name"] == "references" and unseen["closest"][0]["name"] == "song2"  # trained on
    assert unseen["closest"][0]["neighbour"] == "copied" and unseen["largest"] > 0.95
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "clips").rglob("*.wav")}
    assert len(made) == 8 and main(words) == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "clips").rglob("*.wav")} == made


def test_a_language_model_is_evaluated_as_any(references: Path, tiny_lm: Path, tmp_path: Path) -> None:
    """Its ceiling is what its tokens leave of the references."""
    out = tmp_path / "out"
    words = ["evaluate", "--references", str(references), "--checkpoint", str(tiny_lm), "--duration", "4.5"]
    words += ["--protocols", "all", "--n", "2", "--top-k", "4", "--out", str(out)]
    assert main([*words, "--steps", "3"]) == 2 and not out.exists()
    assert main(words) == 0
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert "temperature 0.9/1, top-k 4, top-p 1, refine 0, guidance 2" in report["heading"]
    assert max(row["score"]["n"] for row in report["tables"]["all"]) == 2
    model = FlowMusic.from_pretrained(tiny_lm)
    (path,) = (out / "clips" / "resynthesis").glob("song0-*.wav")
    original = load_clip(find_references([references])[0], 4.5).audio
    left = model.resynthesise(original).samples
    np.testing.assert_allclose(read_audio(path).samples, left, atol=2e-4)
    codec = model.model.codec
    untouched = codec.decode(encode_audio(codec, original))[0, :, : left.shape[1]].detach().numpy()
    assert np.abs(left - untouched).max() > 0.01


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--seed", "-1"], "--seed: expected a seed"),
        (["--duration", "nan"], "--duration: expected seconds"),
        (["--guidance", "strong"], "guidance 'strong' is not understood"),
        (["--protocols", "alone", "--fidelity"], "add it to --protocols"),
        (["--references", "nowhere"], "nowhere does not exist"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_before_any_work(
    words: list[str], expected: str, references: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["evaluate", "--references", str(references), "--out", str(out), *words]) == 2
    assert expected in capsys.readouterr().err
    assert not out.exists()
