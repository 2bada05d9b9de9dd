"""The configurations in configs/: complete, and no key that nothing reads."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from flowmusic.api.pretrained import load_pretrained
from flowmusic.codec.spectral import SpectralCodecConfig
from flowmusic.model.config import FlowConfig
from flowmusic.training import lightning_cli

CONFIGS = Path(__file__).parents[2] / "configs"
RECIPES = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
TRAINERS = sorted(path.stem for path in (CONFIGS / "trainer").glob("*.yaml"))


def parsed(*names: str) -> Any:
    """Configs laid over each other, every key checked against what reads it; nothing is built."""
    arguments = [word for name in names for word in ("-c", str(CONFIGS / f"{name}.yaml"))]
    return lightning_cli.check("fit", arguments)


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_key_of_a_recipe_is_read(recipe: str) -> None:
    config = parsed(recipe)
    assert config.trainer.max_steps == config.model.init_args.total_steps > 0
    assert config.checkpoint.dirpath == f"{config.trainer.default_root_dir}/checkpoints"


@pytest.mark.parametrize("trainer", TRAINERS)
def test_every_machine_goes_with_the_large_shapes(trainer: str) -> None:
    config = parsed("400m", f"trainer/{trainer}")
    assert config.trainer.accelerator in ("cpu", "gpu") and config.trainer.max_steps > 0


def test_style_goes_with_the_large_shapes() -> None:
    shape = parsed("400m", "model/style-encodec").model.init_args.config
    assert (shape.width, shape.token_summary) == (1024, True)
    assert shape.style.feature_dim == shape.latent_dim == 128 and shape.style.features == "codec"


def test_the_embedded_recipe_has_the_shapes_of_the_embedded_model() -> None:
    model = load_pretrained()
    flow = yaml.safe_load((CONFIGS / "model/embedded-flow.yaml").read_text())["init_args"]["config"]
    codec = yaml.safe_load((CONFIGS / "model/embedded-codec.yaml").read_text())["init_args"]["config"]
    trained_afterwards = {"text_adapter": 1024}
    assert FlowConfig.from_dict(flow | trained_afterwards) == model.flow.config
    assert model.codec.config == SpectralCodecConfig.from_dict(codec)


@pytest.mark.parametrize(("name", "millions"), [("400m", 404), ("1b", 970)])
def test_the_large_shapes_are_as_large_as_they_say(name: str, millions: int) -> None:
    from flowmusic.model.transformer import FlowTransformer

    shape = yaml.safe_load((CONFIGS / f"model/{name}.yaml").read_text())["init_args"]["config"]
    with torch.device("meta"):
        net = FlowTransformer(FlowConfig.from_dict(shape))
    found = sum(parameter.numel() for parameter in net.parameters()) / 1e6
    assert abs(found / millions - 1) < 0.1, f"{found:.0f} M, {asdict(net.config)}"
