"""The language model is trained by the same commands, data and callbacks as the flow."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from flowmusic.api.pretrained import load_pretrained
from flowmusic.cli import main
from flowmusic.data.flow_data import FlowData
from flowmusic.lm.config import LmConfig
from flowmusic.lm.transformer import TokenTransformer
from flowmusic.training import latent_tokens
from flowmusic.training.checkpoint import averaged_weights, read_checkpoint
from flowmusic.training.lm_module import LmTraining
from flowmusic.training.sharding import Sharded
from tests.training.conftest import TINY, assert_equal
from tests.training.test_distributed import TWO, start
from tests.training.test_resume import kill_after_a_checkpoint

CONFIG = (
    "{latent_dim: 8, image_dim: 0, codebooks: 2, codes: 16, width: 16, depth: 2, heads: 2, mlp_ratio: 1.0, "
    "text_dim: 5, style_dim: 4, depth_width: 8, depth_heads: 2, depth_blocks: 1, pattern: PATTERN}"
)


@pytest.fixture(scope="module")
def tokens(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokens") / "tokens.safetensors"
    arguments = [str(tiny_data), "--out", str(path), "--codebooks", "2", "--codes", "16", "--image-dim", "0"]
    assert latent_tokens.main(arguments) == 0
    return path


@pytest.fixture(params=["delay", "depth"])
def tiny_config(tmp_path: Path, tiny_data: Path, tokens: Path, request: pytest.FixtureRequest) -> Path:
    text = TINY.replace("DATA", str(tiny_data)).replace("RUN", str(tmp_path / "run"))
    text = text.replace(
        "flowmusic.training.flow_module.FlowTraining", "flowmusic.training.lm_module.LmTraining"
    )
    first = text.index("    config: {")
    text = text[:first] + f"    config: {CONFIG}\n    tokens: {tokens}" + text[text.index("\n", first) :]
    path = tmp_path / "tiny.yaml"
    path.write_text(text.replace("PATTERN", request.param))
    return path


def test_fit_export_generate(tiny_config: Path, tmp_path: Path) -> None:
    assert main(["fit", "-c", str(tiny_config)]) == 0
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    about = read_checkpoint(last)["flowmusic"]
    assert about["kind"] == "lm" and about["config"]["codebooks"] == 2
    export = ["export", str(last), str(tmp_path / "model"), "--license", "MIT"]
    for wrong in (["--steps", "5"], ["--guidance", "3; rescale=0.5"]):
        assert main([*export, *wrong]) == 2
    assert main([*export, "--temperature", "0.9", "--composed-guidance", "double:2,3"]) == 0
    model = load_pretrained(tmp_path / "model")
    assert isinstance(model.network, TokenTransformer) and model.defaults.guidance == "3"
    assert (model.defaults.composed_guidance, model.defaults.sampling.temperature) == ("double:2,3", (0.9,))
    for name, tensor in averaged_weights(read_checkpoint(last)).items():
        torch.testing.assert_close(model.network.state_dict()[name], tensor, atol=1e-3, rtol=1e-3)
    assert float(model.network.latents.sound.abs().max()) > 0
    assert main(["predict", "-c", str(tiny_config), "--ckpt_path", "last"]) == 0
    assert list((tmp_path / "run" / "predictions").glob("*.wav"))


def test_a_killed_run_goes_on_bit_by_bit(tiny_config: Path, tmp_path: Path) -> None:
    more = ["--trainer.max_steps", "40", "--trainer.default_root_dir"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert main(["fit", "-c", str(tiny_config), *more, str(whole)]) == 0
    last = broken / "checkpoints" / "last.ckpt"
    kill_after_a_checkpoint(["fit", "-c", str(tiny_config), *more, str(broken)], last)
    assert main(["fit", "-c", str(tiny_config), *more, str(broken), "--ckpt_path", "last"]) == 0
    ends = [read_checkpoint(run / "checkpoints" / "last.ckpt") for run in (whole, broken)]
    for key in ("state_dict", "optimizer_states"):
        assert_equal(ends[0][key], ends[1][key], key)


@pytest.mark.parametrize("tiny_config", ["delay"], indirect=True)
def test_two_processes_and_recomputed_blocks_train_the_same(tiny_config: Path, tmp_path: Path) -> None:
    runs = {name: tmp_path / name for name in ("one", "two", "recomputed")}
    fit = ["fit", "-c", str(tiny_config), "--trainer.default_root_dir"]
    two = start([*fit, str(runs["two"]), *TWO])
    streams = ["--data.init_args.streams", "2"]
    assert main([*fit, str(runs["one"]), *streams]) == 0
    assert main([*fit, str(runs["recomputed"]), *streams, "--model.init_args.recompute", "true"]) == 0
    said = two.communicate(timeout=300)[0]
    assert two.returncode == 0, said
    one, both, again = (read_checkpoint(run / "checkpoints/last.ckpt") for run in runs.values())
    assert one["FlowData"] == both["FlowData"] and both["global_step"] == 8
    for key, value in one["state_dict"].items():
        torch.testing.assert_close(both["state_dict"][key], value, atol=2e-4, rtol=1e-3)
        torch.testing.assert_close(again["state_dict"][key], value)


def test_the_loss_falls_and_known_frames_do_not_count(tiny_data: Path, tokens: Path) -> None:
    config = LmConfig(
        latent_dim=8, image_dim=0, codebooks=2, codes=16, width=16, depth=1, heads=2, text_dim=5, style_dim=4,
        pattern="delay",
    )  # fmt: skip
    module = LmTraining(config, tokens, total_steps=10)
    data = FlowData(tiny_data, config, batch_size=4, excerpt_frames=16)
    data.open_split("train")
    batch = data.draw_batch("train", 0, [0])
    loss = module.loss(module.net, batch, batch.condition)
    assert loss.by_codebook.shape == (2,) and float(loss.loss) == pytest.approx(
        float(loss.by_codebook.mean())
    )
    optimiser = torch.optim.AdamW(module.net.parameters(), lr=0.02)
    for _ in range(60):
        optimiser.zero_grad()
        found = module.loss(module.net, batch, batch.condition).loss
        found.backward()
        optimiser.step()
    assert float(found.detach()) < 0.5 * float(loss.loss.detach())
    from dataclasses import replace

    known = batch.known.clone()
    known[:, :8] = True
    partly = replace(batch, known=known)
    counted = module.loss(module.net, partly, batch.condition)
    assert float(counted.n_frames) == float((~known).sum())


def test_sharing_out_its_weights_is_refused(tokens: Path) -> None:
    module = LmTraining(LmConfig(latent_dim=8, image_dim=0, codebooks=2, codes=16, width=16, heads=2), tokens)
    module.__dict__["_trainer"] = SimpleNamespace(strategy=Sharded())
    with pytest.raises(ValueError, match="only a flow without style can be shared out"):
        module.configure_model()


def test_codebooks_of_another_shape_are_refused(tokens: Path) -> None:
    with pytest.raises(ValueError, match=r"tokens\.safetensors holds 'sound' of shape \(2, 16, 8\)"):
        LmTraining(LmConfig(latent_dim=8, image_dim=0, codebooks=3, codes=16), tokens)
