"""What is decayed, and that checkpoints of another optimiser are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from flowmusic.cli import main
from flowmusic.codec.spectral import SpectralCodecConfig
from flowmusic.conditioning.style import StyleConfig
from flowmusic.model.config import FlowConfig
from flowmusic.training.base import Training
from flowmusic.training.checkpoint import read_checkpoint
from flowmusic.training.codec_module import DecoderTraining
from flowmusic.training.flow_module import FlowTraining
from flowmusic.training.separator_module import SeparatorConfig, SeparatorTraining
from flowmusic.training.text_alone import _Fit

STYLE = StyleConfig(feature_dim=8, depth=1, heads=2, codebooks=2, codes=16)
MODULES = {
    "flow": lambda: FlowTraining(
        FlowConfig(
            latent_dim=8, width=16, depth=2, heads=2, text_dim=5, style_dim=8, token_summary=True, style=STYLE
        )
    ),
    "codec": lambda: DecoderTraining(SpectralCodecConfig(latent_dim=4, decoder_width=8, decoder_depth=1)),
    "separator": lambda: SeparatorTraining(SeparatorConfig(channels=4, depth=2)),
}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_matrices_alone_are_decayed(name: str) -> None:
    module: Training = MODULES[name]()
    names = {parameter: key for key, parameter in module.net.named_parameters()}
    decayed, others = module.configure_optimizers()["optimizer"].param_groups
    assert decayed["weight_decay"] > 0 and others["weight_decay"] == 0
    found = [{names[parameter] for parameter in group["params"]} for group in (decayed, others)]
    assert found[0] | found[1] == set(names.values()) and not found[0] & found[1]
    norms = {
        f"{key}.weight"
        for key, part in module.net.named_modules()
        if isinstance(part, torch.nn.LayerNorm | torch.nn.GroupNorm | torch.nn.RMSNorm)
    } & set(names.values())
    words = ("bias", "null", "types", "table", "scale", "gain")
    vectors = {key for key in names.values() if any(word in key for word in words)}
    assert norms and vectors and norms | vectors <= found[1]
    assert {key for key in found[0] if not key.endswith("weight")} == set()
    largest = max(names, key=torch.Tensor.numel)
    assert names[largest] in found[0]


def test_a_checkpoint_of_an_earlier_optimiser_is_refused(
    tiny_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", "-c", str(tiny_config)]) == 0
    last = tmp_path / "run/checkpoints/last.ckpt"
    checkpoint = read_checkpoint(last)
    (state,) = checkpoint["optimizer_states"]
    first, second = state["param_groups"]
    state["param_groups"] = [first | {"params": first["params"] + second["params"]}]
    torch.save(checkpoint, last)
    assert main(["fit", "-c", str(tiny_config), "--ckpt_path", "last", "--trainer.max_steps", "12"]) == 2
    assert "init_from" in capsys.readouterr().err.strip().splitlines()[-1]


def test_matrices_alone_are_decayed_in_trainings_on_text_alone() -> None:
    net = torch.nn.Sequential(torch.nn.LayerNorm(4), torch.nn.Linear(4, 3))
    module = _Fit(net, lambda rows: net(rows).sum(), 10, lambda: 0.0)
    decayed, others = module.configure_optimizers()["optimizer"].param_groups
    assert decayed["weight_decay"] > 0 and others["weight_decay"] == 0
    assert [parameter is net[1].weight for parameter in decayed["params"]] == [True]
    assert len(others["params"]) == 3
