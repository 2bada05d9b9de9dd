"""The configurations in configs/: complete, and no key that nothing reads."""

from __future__ import annotations

import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from flowmusic.api.pretrained import load_pretrained
from flowmusic.cli import main
from flowmusic.codec.spectral import SpectralCodecConfig
from flowmusic.lm.config import LmConfig
from flowmusic.model.config import FlowConfig
from flowmusic.training import lightning_cli

CONFIGS = Path(__file__).parents[2] / "configs"
RECIPES = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
TRAINERS = sorted(path.stem for path in (CONFIGS / "trainer").glob("*.yaml"))


def test_a_recipe_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    named = lightning_cli.check("fit", ["-c", "finetune", "--config=trainer/cpu"])
    assert named.model.init_args.init_from == Path("bundled") and named.trainer.devices == 1
    with pytest.raises(ValueError, match="no file fintune and no recipe of that name; recipes: 1b, 4"):
        lightning_cli.check("fit", ["-c", "fintune"])
    Path("finetune").write_text("trainer: {max_steps: 3}\n")  # a file goes before a recipe
    assert lightning_cli.find_recipes(["-c", "finetune"]) == ["-c", "finetune"]


def test_recipes_are_part_of_the_package() -> None:
    assert CONFIGS.resolve() == lightning_cli.RECIPES.resolve()
    listed = tomllib.loads((CONFIGS.parent / "pyproject.toml").read_text())
    assert "recipes/**/*" in listed["tool"]["setuptools"]["package-data"]["flowmusic"]


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


def test_the_small_recipe_has_the_shapes_of_the_bundled_model() -> None:
    model = load_pretrained()
    flow = yaml.safe_load((CONFIGS / "model/small-flow.yaml").read_text())["init_args"]["config"]
    codec = yaml.safe_load((CONFIGS / "model/small-codec.yaml").read_text())["init_args"]["config"]
    trained_afterwards = {"text_adapter": 1024}
    assert FlowConfig.from_dict(flow | trained_afterwards) == model.flow.config
    assert model.codec.config == SpectralCodecConfig.from_dict(codec)


@pytest.mark.parametrize(
    ("name", "millions"), [("400m", 404), ("1b", 970), ("small-lm", 11.3), ("lm-medium", 1850)]
)
def test_the_shapes_are_as_large_as_they_say(name: str, millions: float) -> None:
    from flowmusic.lm.transformer import TokenTransformer
    from flowmusic.model.transformer import FlowTransformer

    shape = yaml.safe_load((CONFIGS / f"model/{name}.yaml").read_text())["init_args"]["config"]
    net: FlowTransformer | TokenTransformer
    with torch.device("meta"):
        if "codebooks" in shape:
            net = TokenTransformer(LmConfig.from_dict(shape))
        else:
            net = FlowTransformer(FlowConfig.from_dict(shape))
    found = sum(parameter.numel() for parameter in net.parameters()) / 1e6
    assert abs(found / millions - 1) < 0.1, f"{found:.0f} M, {asdict(net.config)}"


def test_the_check_of_data_says_what_a_recipe_gets(
    tmp_path: Path, tiny_data: Path, tiny_config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check = ["prepare", "--out", str(tiny_data), "--check", "-c"]
    assert main([*check, str(tiny_config)]) == 0
    said = capsys.readouterr().out
    assert "train: 24 excerpts of 0.64 s, 6.0 batches of 4\n" in said
    longer = tmp_path / "longer.yaml"
    longer.write_text(tiny_config.read_text().replace("excerpt_frames: 16", "excerpt_frames: 80"))
    assert main([*check, str(longer)]) == 0
    assert "valid: 1 excerpts of 3.2 s, 0.2 batches of 4: some are in a batch" in capsys.readouterr().out
    longer.write_text(tiny_config.read_text().replace("excerpt_frames: 16", "excerpt_frames: 99"))
    assert main([*check, str(longer)]) == 2
    assert "gives no excerpt of 3.96 s (99 latent frames)" in capsys.readouterr().err
    assert main([*check, "finetune"]) == 2  # by name; the data are of another shape
    assert "have 8 latent channels, the model expects 172" in capsys.readouterr().err
    assert main(["fit", "-c", str(longer)]) == 2  # what the check refuses is what the training refuses
    assert main(["prepare", str(tmp_path), "--out", str(tmp_path / "d"), "-c", "finetune"]) == 2
