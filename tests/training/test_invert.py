"""Textual inversion: learned through the frozen model, kept in a file, used in prompts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from features.audio import Audio, write_audio
from flowmusic.api.model import FlowMusic
from flowmusic.api.pretrained import Pretrained, load_pretrained
from flowmusic.cli import main
from flowmusic.conditioning.inversion import Inversion, encode_text
from flowmusic.conditioning.minilm import MiniLm
from flowmusic.conditioning.pseudo_words import encode_with_words, encoder_fingerprint, word_embeddings
from flowmusic.training.invert import InversionPlan, invert

RATE = 16_000
PLAN = InversionPlan(steps=8, batch=2, excerpt_frames=30, learning_rate=0.05, check_every=4, check_batches=2)


@pytest.fixture(scope="module")
def encoder() -> MiniLm:
    return MiniLm()


@pytest.fixture(scope="module", params=["tiny_model", "tiny_lm"])
def model(request: pytest.FixtureRequest) -> Pretrained:
    """A tiny flow or language model, listening to its text: the attention's output starts at zero."""
    model = load_pretrained(request.getfixturevalue(request.param))
    torch.manual_seed(2)
    for block in model.network.blocks:
        if block.cross is not None:
            torch.nn.init.normal_(block.cross.to_out.weight, std=0.3)
    return model


def sound(duration_s: float, f0_hz: float = 220.0) -> Audio:
    times_s = np.arange(round(duration_s * RATE)) / RATE
    return Audio((0.3 * np.sin(2 * np.pi * f0_hz * times_s)).astype(np.float32)[None], RATE)


def word(model: str = "m", encoder: str = "e", name: str = "<mysong>", n: int = 2) -> Inversion:
    return Inversion(
        name, torch.randn(n, 384, generator=torch.Generator().manual_seed(n)), model, encoder, "x"
    )


def test_inversions_are_compared_by_their_numbers() -> None:
    one, again = word(), word()
    assert one == again and hash(one) == hash(again) and len({one, again}) == 1
    assert one != replace(one, embeddings=one.embeddings + 1)
    assert one != word(n=3) and one != word(model="other") and one != "<mysong>"


def test_plain_embeddings_in_place_of_words_are_the_words(encoder: MiniLm) -> None:
    known = {"<a>": word_embeddings(encoder, "calm piano")}
    states = encode_with_words(encoder, "a <a> trio", known)
    torch.testing.assert_close(states, encoder.encode(["a calm piano trio"]).states[0], atol=1e-4, rtol=1e-3)


def test_it_learns_and_is_the_same_again(model: Pretrained, encoder: MiniLm) -> None:
    seen: list[int] = []
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    references = [sound(5.0), sound(4.5, 330)]
    first, second = (
        invert(model, encoder, references, "<mysong>", "calm music", PLAN, lambda *said: seen.append(said[0]))
        for _ in range(2)
    )
    assert first.best_loss < first.start_loss and seen == [4, 8, 4, 8]
    assert first.inversion.embeddings.shape == (2, 384)
    assert torch.equal(first.inversion.embeddings, second.inversion.embeddings)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.network.state_dict().items())
    assert first.inversion.text_encoder == encoder_fingerprint(encoder)


def test_it_stops_where_nothing_is_gained(model: Pretrained, encoder: MiniLm) -> None:
    idle = replace(PLAN, steps=100, learning_rate=1e-12, check_every=1, patience=2)
    found = invert(model, encoder, [sound(5.0)], "<mysong>", plan=idle)
    assert found.steps < 20


def test_a_file_holds_all_of_it(tmp_path: Path) -> None:
    saved = word()
    loaded = Inversion.load(saved.save(tmp_path / "new" / "word.safetensors"))
    assert torch.equal(loaded.embeddings, saved.embeddings)
    assert replace(loaded, embeddings=saved.embeddings) == saved
    (tmp_path / "broken.safetensors").write_bytes(b"broken")
    for path, said in (
        ("none", "does not exist"),
        ("broken", r"cannot be read as an inversion \(safetensors\)"),
    ):
        with pytest.raises(ValueError, match=said):
            Inversion.load(tmp_path / f"{path}.safetensors")
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="is not an inversion"):
        Inversion.load(tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"ends in \.safetensors"):
        saved.save(tmp_path / "word.pt")


def test_what_does_not_fit_is_refused(encoder: MiniLm) -> None:
    here = encoder_fingerprint(encoder)
    good = word(encoder=here)
    assert encode_text(encoder, "a calm <mysong>", [good], "m").mask.shape == (1, 6)
    for text, words, said in (
        ("a <mysonk>", [good], "the text does not name <mysong>: 'a <mysonk>'"),
        ("<mysong> <other>", [good], "names <other>, which is not among the pseudo-words given: <mysong>"),
        ("<mysong>", [], "given: none"),
        ("<mysong>", [good, good], "two inversions"),
        ("<mysong>", [word(model="x", encoder=here)], "made with the model x, but this is m"),
        ("<mysong>", [word()], "another text encoder"),
        ("<mysong>", [replace(good, embeddings=torch.ones(2, 9))], "of 9 numbers, but .* takes 384"),
        ("<mysong>" + 70 * " piano", [good], "may have 64 tokens, got 74"),
    ):
        with pytest.raises(ValueError, match=said):
            encode_text(encoder, text, words, "m")
    with pytest.raises(ValueError, match="between '<' and '>', as '<mysong>', got 'mysong'"):
        word(name="mysong")


def test_recordings_that_cannot_be_used_are_refused(model: Pretrained, encoder: MiniLm) -> None:
    silent = Audio(np.zeros((1, 5 * RATE), np.float32), RATE)
    for references, said in (([], "at least one"), ([sound(2.0)], "at least 4 s"), ([silent], "is silent")):
        with pytest.raises(ValueError, match=said):
            invert(model, encoder, references, "<mysong>", plan=PLAN)


def test_from_the_command_to_a_clip(tiny_model: Path, tmp_path: Path) -> None:
    song, out = write_audio(tmp_path / "song.wav", sound(5.0).samples, RATE), tmp_path / "word.safetensors"
    words = ["invert", str(song), "--name", "<mysong>", "--out", str(out), "--checkpoint", str(tiny_model)]
    assert main([*words, "--steps", "2"]) == 0 and out.is_file()
    assert main([*words[:3], "mysong", *words[4:]]) == 2
    asked = ["generate", "--text", "a calm <mysong>", "--checkpoint", str(tiny_model), "--duration", "1"]
    asked += ["-o", str(tmp_path / "clip.wav")]
    assert main([*asked, "--inversions", str(out)]) == 0
    assert main(asked) == 2
    with pytest.raises(ValueError, match="was made with the model"):
        FlowMusic.from_pretrained().generate(text="<mysong>", inversions=[out], duration=1.0)


def test_a_word_of_a_language_model_changes_its_clips(tiny_lm: Path, tmp_path: Path) -> None:
    """Learned by the same command; what was learned, not only that a word is there, decides the clip."""
    song = write_audio(tmp_path / "song.wav", sound(5.0).samples, RATE)
    words = [
        "invert",
        str(song),
        "--name",
        "<mysong>",
        "--checkpoint",
        str(tiny_lm),
        "--learning-rate",
        "0.05",
    ]
    paths = [tmp_path / f"{steps}.safetensors" for steps in ("1", "40")]
    assert all(main([*words, "--steps", path.stem, "--out", str(path)]) == 0 for path in paths)
    model = FlowMusic.from_pretrained(tiny_lm)
    clips = [
        model.generate(text="a calm <mysong>", chords="Am", inversions=[path], duration=2.0).audio
        for path in (*paths, paths[0])
    ]
    assert np.array_equal(clips[0], clips[2]) and not np.array_equal(clips[0], clips[1])
