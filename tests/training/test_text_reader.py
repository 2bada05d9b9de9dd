"""The text reader: what it learns from, that it learns, and its command."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from flowmusic.composer.reader import ATTRIBUTES, TextReader, load_reader, reader_file
from flowmusic.training.text_reader import ReaderTraining, main, train_reader, write_examples
from flowmusic.weights import load_exactly, read_weights


def test_examples_are_captions_with_what_their_songs_are() -> None:
    examples = write_examples(40, seed=2)
    assert len(examples) == 240 and examples == write_examples(40, seed=2)
    assert all(values.keys() == ATTRIBUTES.keys() for _, values in examples)
    assert all(value in ATTRIBUTES[name] for _, values in examples for name, value in values.items())
    assert {values["drums"] for text, values in examples if "drumless" in text} <= {"without"}


def test_the_prior_is_what_songs_are_and_a_silent_text_adds_nothing() -> None:
    values = {name: known[0] for name, known in ATTRIBUTES.items()}
    examples = [("x", values)] * 30 + [("x", values | {"mode": "major"})] * 10
    training = ReaderTraining(examples, {"x": torch.nn.functional.normalize(torch.ones(384), dim=0)})
    training.n_valid = 0
    minor, major = training.reader.prior.split(list(training.reader.sizes.values()))[1].exp().tolist()
    assert minor == pytest.approx(3 * major, rel=0.2) and minor + major == pytest.approx(1.0)
    training.train(300, torch.Generator().manual_seed(0))
    evidence = training.reader.evidence(training.states[0])["mode"]
    assert all(abs(value) < 0.2 for value in evidence.values())


def test_it_learns_from_captions(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gains = train_reader(n_songs=200, steps=120, seed=0).gains()
    assert gains["style"] > 0.15 and gains["drums"] > 0.1  # nothing learned: 0, learned by heart: below it
    caplog.set_level("INFO")
    out = tmp_path / "reader.safetensors"
    assert main(["--out", str(out), "--songs", "20", "--steps", "2"]) == 0
    assert "nats a caption" in caplog.text
    load_exactly(TextReader(), read_weights(out), out)


def test_the_shipped_reader_is_sure_of_plain_words() -> None:
    assert reader_file().stat().st_size < 1e6
    from flowmusic.conditioning.minilm import MiniLm

    means = MiniLm().encode_means(["a waltz in 3/4", "drum and bass", "solo flute"])
    waltz, jungle, flute = (load_reader().evidence(mean) for mean in means)
    assert max(waltz["metre"], key=waltz["metre"].__getitem__) == "3/4"
    assert max(jungle["style"], key=jungle["style"].__getitem__) == "drum and bass"
    assert flute["drums"]["without"] > 0 > flute["drums"]["with"]


def test_wrong_numbers_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path / "r.safetensors"), "--steps", "0"])
    assert "1 to" in capsys.readouterr().err
