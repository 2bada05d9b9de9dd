"""Bad input: one sentence that names the file or argument, a non-zero exit, nothing left behind."""

from __future__ import annotations

import json
import shutil
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from flowmusic.cli import main

RATE = 16_000


def _wav(path: Path, samples: np.ndarray, rate: int = RATE, subtype: str | None = None) -> Path:
    import soundfile

    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def _tone(seconds: float, channels: int = 1) -> np.ndarray:
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * RATE)) / RATE)
    return np.repeat(tone[:, None], channels, axis=1).astype(np.float32)


def _one_hour(path: Path) -> Path:
    """A file of zeros that takes no time to write: the header says what matters."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(8000)
        file.writeframes(b"\x80" * (3600 * 8000))
    return path


def _truncated(path: Path) -> Path:
    _wav(path, _tone(2.0))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


BAD_SOUNDS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "empty": (lambda path: _written(path, b""), "is empty (0 bytes)"),
    "silent": (lambda path: _wav(path, np.zeros(RATE)), "is silent (all samples are 0)"),
    "nan": (lambda path: _wav(path, np.full(RATE, np.nan), subtype="FLOAT"), "NaN"),
    "one-sample": (lambda path: _wav(path, np.array([0.5])), "1 samples"),
    "no-samples": (lambda path: _wav(path, np.zeros(0)), "no samples"),
    "one-hour": (_one_hour, "lasts 3600 s; expected at most 600 s"),
    "8-channel": (lambda path: _wav(path, _tone(1.0, 8)), "has 8 channels; expected mono or stereo"),
    "corrupt": (lambda path: _written(path, np.random.default_rng(0).bytes(4000)), "cannot be read as sound"),
    "truncated": (_truncated, "is cut short"),
    "text": (lambda path: _written(path, b"Dear diary,\n" * 50), "cannot be read as sound"),
    "folder": (_folder, "is a folder"),
    "missing": (lambda path: path, "does not exist"),
}


class Refused:
    """Runs a command that must be refused with exit code 2 and one sentence."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys = folder, capsys
        self.out = folder / "out" / "clip.wav"

    def __call__(self, *arguments: str) -> str:
        before = sorted(self.folder.rglob("*"))
        code = main(arguments)
        captured = self.capsys.readouterr()
        assert code == 2, captured.err
        assert captured.out == ""
        lines = captured.err.splitlines()
        assert len(lines) == 1 and lines[0].startswith("flowmusic: error: "), captured.err
        assert sorted(self.folder.rglob("*")) == before, "something was left behind"
        return lines[0]


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    return Refused(tmp_path, capsys)


@pytest.mark.parametrize("kind", BAD_SOUNDS)
@pytest.mark.parametrize("role", ["drums", "melody", "chords"])
def test_bad_references_of_generate(
    kind: str, role: str, tmp_path: Path, refused: Refused, tiny_model: Path
) -> None:
    make, message = BAD_SOUNDS[kind]
    path = make(tmp_path / "reference.wav")
    text = refused(
        "generate", f"--{role}", str(path), "--checkpoint", str(tiny_model), "-o", str(refused.out)
    )
    assert str(path) in text and message in text


@pytest.mark.parametrize("kind", BAD_SOUNDS)
def test_bad_recordings_of_features(kind: str, tmp_path: Path, refused: Refused) -> None:
    make, message = BAD_SOUNDS[kind]
    path = make(tmp_path / "recording.wav")
    text = refused("features", str(path), "--out", str(tmp_path / "out" / "controls.safetensors"))
    assert str(path) in text and message in text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--duration", "-3"], ["--duration", "0.5 to 3600", "'-3'"]),
        (["--duration", "nan"], ["--duration", "0.5 to 3600"]),
        (["--duration", "ten"], ["--duration", "'ten'"]),
        (["--steps", "0"], ["--steps", "from 1 to 1000"]),
        (["--seed", "-1"], ["--seed"]),
        (["--solver", "leapfrog"], ["--solver", "leapfrog", "euler"]),
        (["--guidance", "strong"], ["guidance", "'strong'"]),
        (["--guidance", "drums=2,bass=1"], ["guidance", "bass"]),
        (["--guidance", "nan"], ["guidance"]),
        (["--bpm", "0"], ["--bpm", "10 to 400"]),
        (["--separator", "magic"], ["--separator", "magic", "embedded"]),
        (["--device", "toaster"], ["device", "toaster"]),
        (["--drum", "x.wav"], ["--drum"]),
        (["--chords", "Am | Xyz | C"], ["bar 2", "Xyz"]),
        (["--chords", "H | C"], ["bar 1", "H", "B"]),
        (["--chords", "songs/none.lab"], ["songs/none.lab", "does not exist"]),
        (["--chords", ""], ["chart"]),
        (["--drums", "beat.lab"], ["beat.lab"]),
        (["--controls", "none.safetensors"], ["none.safetensors"]),
    ],
)
def test_bad_arguments(arguments: list[str], expected: list[str], refused: Refused, tiny_model: Path) -> None:
    text = refused("generate", "--checkpoint", str(tiny_model), "-o", str(refused.out), *arguments)
    for part in expected:
        assert part in text


def test_no_command_and_no_output(refused: Refused) -> None:
    assert "COMMAND" in refused()
    assert "invalid choice: 'sing'" in refused("sing")
    assert "-o/--out" in refused("generate", "--text", "piano")


def test_midi_without_notes_or_without_the_right_ones(
    tmp_path: Path, refused: Refused, tiny_model: Path
) -> None:
    import pretty_midi

    empty, pitched = tmp_path / "empty.mid", tmp_path / "pitched.mid"
    pretty_midi.PrettyMIDI().write(str(empty))
    midi = pretty_midi.PrettyMIDI()
    midi.instruments.append(pretty_midi.Instrument(0))
    midi.instruments[0].notes.append(pretty_midi.Note(100, 60, 0.0, 1.0))
    midi.write(str(pitched))
    common = ["--checkpoint", str(tiny_model), "-o", str(refused.out)]
    assert f"{empty} holds no notes" in refused("generate", "--melody", str(empty), *common)
    assert f"{pitched} has no drums" in refused("generate", "--drums", str(pitched), *common)
    assert f"{pitched} cannot be a chords reference" in refused("generate", "--chords", str(pitched), *common)
    broken = _written(tmp_path / "broken.mid", pitched.read_bytes()[:20])
    assert str(broken) in refused("generate", "--melody", str(broken), *common)


def test_broken_symbol_files(tmp_path: Path, refused: Refused, tiny_model: Path) -> None:
    common = ["--checkpoint", str(tiny_model), "-o", str(refused.out)]
    lab = _written(tmp_path / "a.lab", b"0.0 2.0 A:min\n2.0 oops C:maj\n")
    assert f"{lab}, line 2" in refused("generate", "--chords", str(lab), *common)
    csv = _written(tmp_path / "a.csv", b"time,f0\n0.0,0\n0.1,0\n")
    assert f"{csv} holds no voiced pitch" in refused("generate", "--melody", str(csv), *common)
    chart = _written(tmp_path / "a.txt", b"Am | F |\nQ | C\n")
    text = refused("generate", "--chords", str(chart), *common)
    assert str(chart) in text and "bar 3" in text


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("clip", "expected a name that ends in .wav, .flac, .ogg"),
        ("clip.mp3", "expected a name that ends in .wav, .flac, .ogg"),
        ("letter.txt/clip.wav", "letter.txt"),
        ("taken.wav", "it is a folder"),
    ],
)
def test_output_paths_that_cannot_be_written(
    name: str, expected: str, tmp_path: Path, refused: Refused
) -> None:
    (tmp_path / "letter.txt").write_text("Dear diary")
    (tmp_path / "taken.wav").mkdir()
    path = tmp_path / name
    text = refused("generate", "--text", "piano", "-o", str(path), "--checkpoint", "/nowhere/looked/at")
    assert str(path) in text and expected in text, "the output is checked first"
    text = refused("features", str(tmp_path / "letter.txt"), "--out", str(tmp_path / "clip.wav"))
    assert "clip.wav" in text and ".safetensors" in text


def test_a_disk_that_takes_no_files(refused: Refused, tmp_path: Path) -> None:
    if not Path("/proc/self").is_dir():
        pytest.skip("needs a folder that even root cannot write to")
    text = refused("generate", "--text", "piano", "-o", "/proc/clip.wav")
    assert "cannot write /proc/clip.wav" in text


@pytest.fixture
def model_copy(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def _edit_config(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    edit(config)
    path.write_text(json.dumps(config))


def _edit_weights(path: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path)


def _nan(tensors: dict[str, torch.Tensor]) -> None:
    tensors["project_out.bias"][0] = float("nan")


BAD_MODELS: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "no-config": (lambda f: (f / "config.json").unlink(), ["is not a model", "config.json"]),
    "no-flow": (lambda f: (f / "flow.safetensors").unlink(), ["flow.safetensors"]),
    "no-codec": (lambda f: (f / "codec.safetensors").unlink(), ["codec.safetensors"]),
    "not-json": (lambda f: (f / "config.json").write_text("{"), ["config.json", "JSON"]),
    "not-safetensors": (
        lambda f: (f / "flow.safetensors").write_bytes(b"x" * 99),
        ["flow.safetensors", "safetensors"],
    ),
    "future-format": (
        lambda f: _edit_config(f, lambda c: c.update(format="flowmusic.model.9")),
        ["flowmusic.model.9", "flowmusic.model.1"],
    ),
    "no-section": (lambda f: _edit_config(f, lambda c: c.pop("flow")), ["config.json", "'flow'"]),
    "unknown-setting": (
        lambda f: _edit_config(f, lambda c: c["flow"].update(wings=2)),
        ["config.json", "wings"],
    ),
    "other-shape": (
        lambda f: _edit_config(f, lambda c: c["flow"].update(width=64)),
        ["flow.safetensors", "of shape", "config.json"],
    ),
    "other-latents": (
        lambda f: _edit_config(f, lambda c: c["flow"].update(latent_dim=9)),
        ["config.json", "9 latent channels", "codec 8"],
    ),
    "missing-key": (
        lambda f: _edit_weights(f / "flow.safetensors", lambda t: t.pop("project_out.bias")),
        ["flow.safetensors", "lacks", "'project_out.bias'"],
    ),
    "unknown-key": (
        lambda f: _edit_weights(f / "codec.safetensors", lambda t: t.update(extra=torch.zeros(1))),
        ["codec.safetensors", "'extra'"],
    ),
    "nan-weights": (
        lambda f: _edit_weights(f / "flow.safetensors", _nan),
        ["flow.safetensors", "NaN", "'project_out.bias'"],
    ),
}


@pytest.mark.parametrize("kind", BAD_MODELS)
def test_bad_checkpoints(kind: str, model_copy: Path, refused: Refused) -> None:
    spoil, expected = BAD_MODELS[kind]
    spoil(model_copy)
    text = refused("generate", "--text", "piano", "--checkpoint", str(model_copy), "-o", str(refused.out))
    assert str(model_copy) in text
    for part in expected:
        assert part in text


def test_checkpoints_that_are_no_folder(
    refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = _written(tmp_path / "model.pt", b"x")
    common = ["generate", "--text", "piano", "-o", str(refused.out), "--checkpoint"]
    assert f"{file} is a file; expected the folder of a model" in refused(*common, str(file))
    assert "/no/such/folder does not exist" in refused(*common, "/no/such/folder")


def test_a_hub_that_cannot_be_reached_is_one_sentence(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    text = refused("generate", "--text", "x", "-o", str(refused.out), "--checkpoint", "someone/some-model")
    assert "someone/some-model is no folder here and the hub cannot be reached" in text


def test_controls_of_another_kind(tmp_path: Path, refused: Refused, tiny_model: Path) -> None:
    common = ["generate", "--checkpoint", str(tiny_model), "-o", str(refused.out), "--controls"]
    other = tiny_model / "flow.safetensors"
    assert f"{other} is not a file of controls" in refused(*common, str(other))
    text = _written(tmp_path / "notes.safetensors", b"not really")
    assert f"{text} cannot be read as controls" in refused(*common, str(text))
