"""Bad input: one sentence that names the file or argument, a non-zero exit, nothing left behind."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from flowmusic.cli import main
from flowmusic.data.leadsheets import read_lead_sheets
from flowmusic.errors import is_bad_input
from flowmusic.evaluation.references import read_labels
from tests.refusals import BAD_SOUNDS, Refused, tone, wav, written


@pytest.mark.parametrize("kind", BAD_SOUNDS)
@pytest.mark.parametrize("role", ["drums", "melody", "chords", "style", "context", "vary"])
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
        (["--separator", "magic"], ["--separator", "magic", "bundled"]),
        (["--device", "toaster"], ["device", "toaster"]),
        (["--device", "meta"], ["there is no device 'meta' here"]),
        (["--melody", "/dev/null"], ["/dev/null is a device or a pipe, not a file"]),
        (["--style", "/dev/null"], ["/dev/null is a device or a pipe, not a file"]),
        (["--drum", "x.wav"], ["--drum"]),
        (["--chords", "Am", "--weights", "chords=2"], ["--weights", "--candidates 2 or more"]),
        (["--chords", "Am | Xyz | C"], ["bar 2", "Xyz"]),
        (["--chords", "H | C"], ["bar 1", "H", "B"]),
        (["--chords", "songs/none.lab"], ["songs/none.lab", "does not exist"]),
        (["--chords", ""], ["chords must be a text that is not empty", "such as 'Am | F C | G7'", "got ''"]),
        (["--drums", "beat.lab"], ["beat.lab"]),
        (["--controls", "none.safetensors"], ["none.safetensors"]),
    ],
)
def test_bad_arguments(arguments: list[str], expected: list[str], refused: Refused, tiny_model: Path) -> None:
    text = refused("generate", "--checkpoint", str(tiny_model), "-o", str(refused.out), *arguments)
    for part in expected:
        assert part in text


@pytest.mark.parametrize("words", [["--plot"], ["--candidates", "2"]])
def test_extractors_that_the_clip_needs_are_made_first(
    words: list[str], refused: Refused, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object) -> None:
        raise OSError("the chord recogniser cannot be had")

    monkeypatch.setattr("features.choices.chord_recogniser", offline)
    monkeypatch.setattr("flowmusic.api.model.FlowMusic.prepare", lambda *_: pytest.fail("a clip was made"))
    common = ["--chords", "Am", "--checkpoint", str(tiny_model), "-o", str(refused.out)]
    assert "the chord recogniser cannot be had" in refused("generate", *common, *words)


def test_no_gpu_is_said_and_not_recommended(
    refused: Refused, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    words = ["--text", "piano", "--device", "cuda:99", "--checkpoint", str(tiny_model)]
    text = refused("generate", *words, "-o", str(refused.out))
    assert "there is no device 'cuda:99' here; expected cpu: there is no GPU" in text


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
    broken = written(tmp_path / "broken.mid", pitched.read_bytes()[:20])
    assert str(broken) in refused("generate", "--melody", str(broken), *common)


def test_broken_symbol_files(tmp_path: Path, refused: Refused, tiny_model: Path) -> None:
    common = ["--checkpoint", str(tiny_model), "-o", str(refused.out)]
    lab = written(tmp_path / "a.lab", b"0.0 2.0 A:min\n2.0 oops C:maj\n")
    assert f"{lab}, line 2" in refused("generate", "--chords", str(lab), *common)
    csv = written(tmp_path / "a.csv", b"time,f0\n0.0,0\n0.1,0\n")
    assert f"{csv} holds no voiced pitch" in refused("generate", "--melody", str(csv), *common)
    chart = written(tmp_path / "a.txt", b"Am | F |\nQ | C\n")
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
def test_output_paths_that_cannot_bewritten(
    name: str, expected: str, tmp_path: Path, refused: Refused
) -> None:
    (tmp_path / "letter.txt").write_text("Dear diary")
    (tmp_path / "taken.wav").mkdir()
    path = tmp_path / name
    text = refused("generate", "--text", "piano", "-o", str(path), "--checkpoint", "/nowhere/looked/at")
    assert str(path) in text and expected in text, "the output is checked first"
    text = refused("features", str(tmp_path / "letter.txt"), "--out", str(tmp_path / "clip.wav"))
    assert "clip.wav" in text and ".safetensors" in text


@pytest.mark.parametrize("suffix", [".json", ".png"])
def test_a_folder_in_the_place_of_sidecar_or_plot(suffix: str, refused: Refused, tmp_path: Path) -> None:
    beside = tmp_path / f"clip{suffix}"
    beside.mkdir()
    words = ["--plot", "-o", str(tmp_path / "clip.wav"), "--checkpoint", "/nowhere/looked/at"]
    assert f"cannot write {beside}: it is a folder" in refused("generate", "--text", "piano", *words)
    if suffix == ".png":
        words = ["--plot", "--out", str(tmp_path / "clip.safetensors")]
        assert f"cannot write {beside}: it is a folder" in refused("features", "nowhere.wav", *words)


def test_a_disk_that_takes_no_files(refused: Refused, tmp_path: Path) -> None:
    if not Path("/proc/self").is_dir():
        pytest.skip("needs a folder that even root cannot write to")
    text = refused("generate", "--text", "piano", "-o", "/proc/clip.wav")
    assert "cannot write /proc/clip.wav" in text


def test_controls_of_another_kind(tmp_path: Path, refused: Refused, tiny_model: Path) -> None:
    common = ["generate", "--checkpoint", str(tiny_model), "-o", str(refused.out), "--controls"]
    other = tiny_model / "flow.safetensors"
    assert f"{other} is not a file of controls" in refused(*common, str(other))
    text = written(tmp_path / "notes.safetensors", b"not really")
    assert f"{text} cannot be read as controls" in refused(*common, str(text))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--steps", "0"], "argument --steps: expected a whole number from 1 to 1000"),
        (["--solver", "leapfrog"], "argument --solver: invalid choice: 'leapfrog'"),
        (["--guidance", "strong"], "guidance 'strong' is not understood"),
        (["--seed", "-1"], "argument --seed: expected a seed from 0"),
        (["--duration", "nan"], "argument --duration: expected seconds 2 to 600"),
        (["--protocols", ""], "argument --protocols: expected some of all,alone,three, got ''"),
        (["--protocols", "all,most"], "argument --protocols: expected some of all,alone,three"),
        (["--n-alone", "0"], "argument --n-alone: expected references from 1"),
    ],
)
def test_bad_arguments_of_evaluate(
    arguments: list[str], expected: str, refused: Refused, tmp_path: Path, tiny_model: Path
) -> None:
    """Before any listening, and without settings that would stand in the way of the next run."""
    for index in range(4):
        wav(tmp_path / f"{index}.wav", tone(2.5))
    common = ["--references", str(tmp_path), "--checkpoint", str(tiny_model), "--out", str(tmp_path / "out")]
    assert expected in refused("evaluate", *common, "--duration", "2", *arguments)


@pytest.mark.parametrize("option", ["--text", "--chords", "--keep", "--guidance"])
def test_an_argument_that_is_not_utf_8(option: str, refused: Refused) -> None:
    """The shell gives bytes; those that are no text come as half pairs."""
    text = refused("generate", "--context", "a.wav", option, "caf\udce9", "-o", str(refused.out))
    assert option[2:] in text and "\\udce9" in text and text.isprintable()


@pytest.mark.parametrize("length", [251, 256, 300])
def test_a_name_that_is_too_long_is_one_sentence(length: int, refused: Refused, tmp_path: Path) -> None:
    """With 251 letters the clip could be written, but not its sidecar beside it."""
    out = tmp_path / ("x" * length + ".wav")
    text = refused("generate", "--text", "piano", "-o", str(out), "--checkpoint", "/nowhere/looked/at")
    assert f"{tmp_path}/xxx" in text and "File name too long" in text


NAMES = {
    "latin-1": b"caf\xe9",
    "space": b"a  b ",
    "quotes": b'it\'s "x" `y` $z$',
    "newline": b"a\nb",
    "emoji": "🎵 für".encode(),
    "number sign": b"#1 50%",
    "dash": b"-a",
    "longest": b"x" * 243,
    "longest emoji": "🎵".encode() * 60 + b"abc",
}


@pytest.mark.parametrize("kind", NAMES)
def test_files_of_any_name_are_read_and_written(
    kind: str, tmp_path: Path, tiny_model: Path, music_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stem = os.fsdecode(NAMES[kind])
    song = tmp_path / f"{stem}.wav"
    shutil.copy(music_file, song)
    made, heard = tmp_path / "made" / f"{stem}.wav", tmp_path / "heard" / f"{stem}.safetensors"
    common = ["--checkpoint", str(tiny_model), "--separator", "none", "--duration", "1"]
    assert main(["generate", f"--drums={song}", f"--context={song}", f"--out={made}", *common]) == 0
    assert json.loads(made.with_suffix(".json").read_bytes().decode("utf-8"))["request"]["drums"] == str(song)
    again = tmp_path / "again.wav"
    assert main(["generate", f"--from={made.with_suffix('.json')}", "-o", str(again)]) == 0
    assert again.read_bytes() == made.read_bytes()
    words = ["--only", "drums", "--separator", "none", "--plot", f"--out={heard}", "--", str(song)]
    assert main(["features", *words]) == 0
    assert {path.name for path in heard.parent.iterdir()} == {heard.name, f"{stem}.png"}
    assert main(["generate", f"--controls={heard}", "-o", str(tmp_path / "c.wav"), *common[:2]]) == 0
    assert capsys.readouterr().out.count(".wav\n") == 3


def test_texts_in_another_encoding(tmp_path: Path, refused: Refused) -> None:
    """They are bad input, not an internal error."""
    text = written(tmp_path / "text.txt", "Ballade für Flügel".encode("latin-1"))
    out = str(tmp_path / "out")
    message = f"{text}, line 1: cannot be read as UTF-8 text; expected prompts, one a line: save as UTF-8"
    assert message in refused("batch", "--grid", "--prompts", str(text), "--out", out)
    text.write_bytes(b"a trio\n\x1b[31mred\n")
    message = f"{text}, line 2: expected a prompt, without the character \\x1b"
    assert message in refused("batch", "--grid", "--prompts", str(text), "--out", out)
    text.write_bytes("Ballade für Flügel".encode("latin-1"))
    readers = (
        (read_lead_sheets, "line 1: cannot be read as UTF-8 text; expected a JSON-lines"),
        (read_labels, "cannot be read as UTF-8 text; expected the labels"),
    )
    for read, message in readers:
        with pytest.raises(ValueError, match=message) as caught:
            read(text)
        assert is_bad_input(caught.value)
