"""Models of transformers with small random weights: no pickle, no code of theirs, no question."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForTextEncoding,
    AutoTokenizer,
    BertConfig,
    BertModel,
    EncodecConfig,
    EncodecModel,
    HubertConfig,
    HubertModel,
    T5Config,
    T5EncoderModel,
    Wav2Vec2FeatureExtractor,
)

from features import hub
from features.hub import load_model, load_settings, split_revision
from tests.refusals import LFS_POINTER, WEB_PAGE

SMALL = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
MODELS = {
    "bert": (AutoModelForTextEncoding, BertModel(BertConfig(vocab_size=9, **SMALL))),
    "t5": (
        AutoModelForTextEncoding,
        T5EncoderModel(T5Config(vocab_size=9, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)),
    ),
    "hubert": (
        AutoModel,
        HubertModel(HubertConfig(conv_dim=[8] * 7, num_conv_pos_embedding_groups=2, **SMALL)),
    ),
    "encodec": (EncodecModel, EncodecModel(EncodecConfig(num_filters=2, hidden_size=8, codebook_dim=8))),
}


@pytest.fixture(autouse=True)
def questions(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was asked on the terminal; nobody answers."""
    asked: list[object] = []

    def answer(question: object = "") -> str:
        asked.append(question)
        return "y"

    monkeypatch.setattr("builtins.input", answer)
    return asked


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_model_is_read_from_safetensors_alone(name: str, tmp_path: Path) -> None:
    kind, model = MODELS[name]
    model.save_pretrained(tmp_path)
    loaded = load_model(kind, str(tmp_path), "model")
    for key, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value)
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(
        ValueError, match=r"^the model '.*' cannot be loaded: .*pickled weights are never read"
    ):
        load_model(kind, str(tmp_path), "the model")


@pytest.mark.parametrize("name", sorted(MODELS))
def test_what_stands_for_weights_or_settings_is_named(name: str, tmp_path: Path) -> None:
    kind, model = MODELS[name]
    model.save_pretrained(tmp_path)
    weights, config = tmp_path / "model.safetensors", tmp_path / "config.json"
    whole = weights.read_bytes()
    for content, message in (
        (LFS_POINTER, "its model.safetensors is a Git LFS pointer, not the file itself: run `git lfs pull`"),
        (WEB_PAGE, "its model.safetensors is a web page"),
        (b"", "its model.safetensors is empty"),
        (whole[: len(whole) // 2], "cannot be loaded"),
    ):
        weights.write_bytes(content)
        with pytest.raises(ValueError, match=re.escape(message)) as caught:
            load_model(kind, str(tmp_path), "the model")
        assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)
    weights.write_bytes(whole)
    config.write_bytes(LFS_POINTER)
    with pytest.raises(ValueError, match=r"config\.json is a Git LFS pointer"):
        load_model(kind, str(tmp_path), "the model")


@pytest.mark.parametrize("name", sorted(MODELS))
@pytest.mark.parametrize("known", [True, False])
def test_code_of_a_model_is_neither_run_nor_ignored(
    name: str, known: bool, tmp_path: Path, questions: list[object]
) -> None:
    """Not even where transformers knows the type of the model, and would take its own class for it."""
    kind, model = MODELS[name]
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    classes = ("AutoConfig", "AutoModel", "AutoModelForTextEncoding")
    config["auto_map"] = dict.fromkeys(classes, "mine.Model")
    config |= {} if known else {"model_type": "mine"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    trap(tmp_path)
    with pytest.raises(ValueError, match=r"custom code \(auto_map in its config\.json\)"):
        load_model(kind, str(tmp_path), "model")
    assert not (tmp_path / "run").exists() and questions == []


def trap(folder: Path) -> None:
    (folder / "mine.py").write_text(f"open({str(folder / 'run')!r}, 'w').close()\n")


@pytest.mark.parametrize(
    ("kind", "file", "settings"),
    [
        (AutoTokenizer, "tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["mine.Model", None]}}),
        (
            AutoFeatureExtractor,
            "preprocessor_config.json",
            {"auto_map": {"AutoFeatureExtractor": "mine.Model"}},
        ),
        (AutoModel, "config.json", {"model_type": "bert", "attn_implementation": "somebody/kernel"}),
        (AutoModel, "config.json", []),
    ],
)
def test_code_in_other_settings_is_refused(
    kind: Any, file: str, settings: object, tmp_path: Path, questions: list[object]
) -> None:
    trap(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / file).write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=f"custom code .* in its {file}|its {file} holds no settings"):
        load_settings(kind, str(tmp_path), "model")
    assert not (tmp_path / "run").exists() and questions == []


def test_settings_without_code_are_read(tmp_path: Path) -> None:
    Wav2Vec2FeatureExtractor(sampling_rate=8000).save_pretrained(tmp_path)
    assert load_settings(AutoFeatureExtractor, str(tmp_path), "features").sampling_rate == 8000


@pytest.mark.parametrize(
    ("source", "place", "revision"),
    [
        ("a/b", "a/b", None),
        ("a/b@v1", "a/b", "v1"),
        ("a/b@", "a/b", None),
        ("t5-small@main", "t5-small", "main"),
    ],
)
def test_a_revision_stands_behind_the_name(source: str, place: str, revision: str | None) -> None:
    assert split_revision(source) == (place, revision)


def test_a_folder_may_have_the_sign_in_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "model@home"
    MODELS["bert"][1].save_pretrained(folder)
    assert split_revision(str(folder)) == (str(folder), None)
    assert isinstance(load_model(AutoModel, str(folder), "model"), BertModel)


def test_the_revision_that_was_asked_for_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a cache of the hub's layout that holds two revisions; "main" is another than "old"."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    repo = tmp_path / "models--somebody--model"
    for ref, commit, layers in (("main", "a" * 40, 1), ("old", "b" * 40, 2)):
        BertModel(BertConfig(vocab_size=9, **SMALL | {"num_hidden_layers": layers})).save_pretrained(
            repo / "snapshots" / commit
        )
        (repo / "refs").mkdir(exist_ok=True)
        (repo / "refs" / ref).write_text(commit)
    for source, layers in (("somebody/model", 1), ("somebody/model@main", 1), ("somebody/model@old", 2)):
        assert load_model(AutoModel, source, "model").config.num_hidden_layers == layers
    with pytest.raises(ValueError, match=r"'somebody/model@new' cannot be loaded: .* cannot be reached"):
        load_model(AutoModel, "somebody/model@new", "model")


def test_transformers_is_asked_to_load_in_one_place_only() -> None:
    root = Path(hub.__file__).parents[1]
    places = set()
    for path in (*root.glob("features/**/*.py"), *root.glob("flowmusic/**/*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imports_it = any(
            isinstance(node, ast.ImportFrom) and str(node.module).startswith("transformers")
            for node in ast.walk(tree)
        )
        calls = [
            node for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and node.attr == "from_pretrained"
        ]  # fmt: skip
        if imports_it and calls:
            places.add(path.name)
    assert places == {"hub.py"}
