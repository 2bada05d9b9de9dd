"""From a checkpoint to a model's folder: the same velocities, and what does not fit is said."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from flowmusic.api.pretrained import load_pretrained, save_pretrained
from flowmusic.cli import main
from flowmusic.data.flow_data import FlowData
from flowmusic.flow.path import sample_times
from flowmusic.model.config import FlowConfig
from flowmusic.model_files import Terms
from flowmusic.training import lightning_cli
from flowmusic.training.checkpoint import read_checkpoint
from flowmusic.training.export import terms_of_export as export_terms
from flowmusic.training.flow_module import FlowTraining


@pytest.fixture
def trained(tiny_config: Path, tiny_data: Path, tmp_path: Path) -> Path:
    """The checkpoint of a run on data of its own."""
    data = tmp_path / "data"
    shutil.copytree(tiny_data, data)
    command = ["fit", "-c", str(tiny_config), "--data.init_args.folder", str(data)]
    assert main(command) == 0
    return tmp_path / "run/checkpoints/last.ckpt"


def test_the_exported_model_has_the_velocities_of_the_average(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    assert main(["export", str(trained), str(out), "--steps", "4", "--guidance", "1.5"]) == 0
    model = load_pretrained(out)
    assert (model.defaults.steps, model.defaults.guidance, model.defaults.text_encoder) == (
        4,
        "1.5",
        "bundled",
    )
    assert "Averaged weights after 8 steps" in (out / "README.md").read_text()

    checkpoint = read_checkpoint(trained)
    module = FlowTraining(FlowConfig.from_dict(checkpoint["flowmusic"]["config"]))
    module.load_state_dict(checkpoint["state_dict"])
    data = FlowData(tmp_path / "data", module.config, batch_size=2, excerpt_frames=16)
    data.open_split("valid")
    batch = data.draw_batch("valid", 0, [0])
    t = sample_times(2, torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = module.average.eval()(batch.x_1, t, batch.condition)
        after = model.flow(batch.x_1, t, batch.condition)
        raw = module.net.eval()(batch.x_1, t, batch.condition)
    torch.testing.assert_close(after, before, atol=2e-3, rtol=2e-3)  # stored in 16 bits
    assert float((raw - before).abs().max()) > 10 * float((after - before).abs().max())


def test_a_new_run_starts_from_an_exported_model(trained: Path, tiny_config: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    assert main(["export", str(trained), str(out)]) == 0
    cli = lightning_cli.parse("fit", ["-c", str(tiny_config), "--model.init_args.init_from", str(out)])
    for name, tensor in load_pretrained(out).flow.state_dict().items():
        assert torch.equal(cli.model.net.state_dict()[name], tensor)


def test_what_cannot_be_exported_is_one_sentence(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*arguments: str) -> str:
        assert main(["export", *arguments]) == 2
        return capsys.readouterr().err.strip().splitlines()[-1]

    assert "there is no such file" in refused(str(tmp_path / "no.ckpt"), str(tmp_path / "m"))
    (tmp_path / "b.ckpt").write_bytes(b"something else")
    assert "b.ckpt cannot be read" in refused(str(tmp_path / "b.ckpt"), str(tmp_path / "m"))
    assert "the codec has 172 latent channels, the flow 8" in refused(
        str(trained), str(tmp_path / "m"), "--codec", "bundled"
    )
    shutil.rmtree(tmp_path / "data")
    assert "name one with --codec" in refused(str(trained), str(tmp_path / "m"))


def test_a_folder_is_published_by_the_hubs_own_mixin(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import HfApi

    from flowmusic.training.hub import push_to_hub

    seen: dict[str, Any] = {}

    class Repo:
        repo_id = "me/tiny"

    def upload(self: HfApi, *, folder_path: Path, **other: Any) -> str:
        seen["files"] = sorted(path.name for path in Path(folder_path).iterdir())
        seen["config"] = json.loads((Path(folder_path) / "config.json").read_text())
        return "https://hub/me/tiny/commit/1"

    monkeypatch.setattr(HfApi, "create_repo", lambda self, **settings: seen.update(settings) or Repo())
    monkeypatch.setattr(HfApi, "upload_folder", upload)
    assert push_to_hub(tiny_model, "me/tiny").endswith("commit/1")
    assert seen["files"] == ["README.md", "codec.safetensors", "config.json", "flow.safetensors"]
    assert seen["config"]["format"] == "flowmusic.model.1" and seen["private"] is True
    with pytest.raises(ValueError, match="is not a model's folder"):
        push_to_hub(tiny_model.parent, "me/tiny")


def test_licence_and_credits_are_carried_on(trained: Path, tmp_path: Path) -> None:
    """Of own weights the author says the licence; what derives from others keeps theirs, with its text."""
    own, none = tmp_path / "own", tmp_path / "none"
    assert main(["export", str(trained), str(own), "--license", "CC0-1.0"]) == 0
    assert load_pretrained(own).license == "CC0-1.0" and "license: cc0-1.0" in (own / "README.md").read_text()
    assert main(["export", str(trained), str(none)]) == 0
    assert load_pretrained(none).license == "" and not (none / "LICENSE").exists()


def test_what_derives_from_the_bundled_model_is_under_its_licence(
    tmp_path: Path,
) -> None:
    bundled = load_pretrained()
    module = FlowTraining(bundled.flow.config, init_from=Path("bundled"))
    assert module.terms.license == "CC-BY-SA-4.0" and "Nikola Whallon" in module.terms.credits
    terms = export_terms(module.terms, bundled.codec, None, None)
    assert (
        terms == module.terms == export_terms(Terms(), bundled.codec, None, None)
    )  # its codec alone counts too
    folder = save_pretrained(
        replace(bundled, license=terms.license, credits=terms.credits), tmp_path / "model"
    )
    assert "Attribution-ShareAlike 4.0" in (folder / "LICENSE").read_text()
    assert Terms.of(folder) == terms
    with pytest.raises(ValueError, match=r"derive from weights under CC-BY-SA-4\.0"):
        export_terms(module.terms, bundled.codec, None, "MIT")
