"""The text adapter: what it does to a flow, that it learns, and its command."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from flowmusic.api.pretrained import load_pretrained, save_pretrained
from flowmusic.conditioning.minilm import MiniLm
from flowmusic.conditioning.tokens import TokenSummary
from flowmusic.training.text_adapter import AdapterTraining, main, train_adapter, with_adapter, write_pairs


def test_what_is_said_twice_is_said_in_other_words() -> None:
    pairs = write_pairs(60, seed=3)
    assert len(pairs) == 360 and write_pairs(2, seed=3) == pairs[:12]
    assert sum(said != plain for said, plain in pairs) > 300
    tempo = re.compile(r"(?<=tempo )\d+\b|\d+(?= bpm| beats)", re.IGNORECASE)
    assert all(tempo.findall(said) == tempo.findall(plain) for said, plain in pairs)
    assert sum(bool(tempo.search(plain)) for _, plain in pairs) > 30
    plain_words = {word for _, plain in pairs for word in plain.lower().split()}
    assert "funereal" not in plain_words and "Hammond" not in " ".join(plain for _, plain in pairs)


def test_an_adapter_starts_as_if_it_were_not_there(tiny_model: Path) -> None:
    bare = load_pretrained(tiny_model)
    with pytest.raises(ValueError, match="no summary of its text"):
        with_adapter(bare)
    model = load_pretrained()
    grown, known = with_adapter(model), with_adapter(with_adapter(model))
    assert (
        grown.flow.summary is not None and known.flow.summary is not None and model.flow.summary is not None
    )
    mean = torch.nn.functional.normalize(torch.randn(3, 1, 384), dim=-1)
    assert torch.equal(grown.flow.summary.said(mean), model.flow.summary.project["text"](mean))
    assert torch.equal(known.flow.summary.said(mean), grown.flow.summary.said(mean))


def test_it_learns_that_words_mean_the_same_and_nothing_else_changes(tmp_path: Path) -> None:
    model = load_pretrained()
    trained, before, after = train_adapter(model, n_songs=120, steps=150, seed=0)
    assert after < 0.95 * before
    changed = {
        name
        for name, tensor in trained.flow.state_dict().items()
        if not torch.equal(tensor, model.flow.state_dict().get(name, torch.zeros(0)))
    }
    assert changed and all(name.startswith("summary.adapter.") for name in changed)
    again = load_pretrained(save_pretrained(trained, tmp_path / "model"))
    assert again.flow.config == replace(model.flow.config, text_adapter=1024)
    encoder = MiniLm()
    means = encoder.encode_means(["a pianist", "piano"])
    assert again.flow.summary is not None and trained.flow.summary is not None
    torch.testing.assert_close(
        again.flow.summary.said(means), trained.flow.summary.said(means), atol=1e-3, rtol=0.01
    )


def test_means_encoded_together_are_those_of_each_alone() -> None:
    encoder = MiniLm()
    texts = ["slow piano", "a fast rock song with drums and an electric guitar", "sad"]
    tokens = encoder.encode(texts)
    for mean, states, mask in zip(encoder.encode_means(texts), tokens.states, tokens.mask, strict=True):
        alone = torch.nn.functional.normalize(states[mask].mean(dim=0), dim=0)
        torch.testing.assert_close(mean, alone, atol=1e-4, rtol=1e-3)


def test_a_summary_without_adapter_cannot_be_trained() -> None:
    flow = load_pretrained().flow
    summary = TokenSummary(flow.config.text_dim, flow.config.style_dim, flow.config.width)
    torch.nn.init.normal_(next(summary.project["text"].parameters()))
    pairs = [("a", "b"), ("c", "d"), ("e", "f")]
    means = {text: torch.nn.functional.normalize(torch.randn(384), dim=0) for pair in pairs for text in pair}
    training = AdapterTraining(summary, pairs, means)
    assert training.valid_error() > 0
    with pytest.raises(ValueError, match="no adapter to train"):
        training.train(1, torch.Generator())


def test_the_command_names_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
        (["--out", str(tmp_path / "a"), "--checkpoint", str(tmp_path / "none")], "does not exist"),
        (["--out", str(tmp_path / "a"), "--songs", "0"], "1 to"),
    ):
        with pytest.raises(SystemExit):
            main(arguments)
        assert message in capsys.readouterr().err
