"""Training through the command line: links, overrides, errors in one sentence, checkpoints."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from features.audio import read_audio
from features.precision import relative_error
from flowmusic.cli import main
from flowmusic.training import lightning_cli
from flowmusic.training.checkpoint import read_checkpoint
from flowmusic.training.precision import check_precision
from tests.refusals import LFS_POINTER


def fit(config: Path, *more: str) -> int:
    return main(["fit", "-c", str(config), *more])


def parsed(config: Path, *more: str) -> Any:
    """The command line with everything built, nothing run."""
    return lightning_cli.parse("fit", ["-c", str(config), *more])


def test_a_run_leaves_a_checkpoint_of_plain_values(tiny_config: Path, tmp_path: Path) -> None:
    assert fit(tiny_config) == 0
    last = tmp_path / "run/checkpoints/last.ckpt"
    checkpoint = read_checkpoint(last)
    assert checkpoint["global_step"] == 8 and checkpoint["flowmusic"]["kind"] == "flow"
    assert checkpoint["FlowData"]["next_batch"] == 8
    assert sorted(path.name for path in last.parent.iterdir()) == ["last.ckpt"]
    for command in ("validate", "test"):
        assert main([command, "-c", str(tiny_config), "--ckpt_path", "last"]) == 0
    assert main(["test", "-c", str(tiny_config)]) == 2  # without a checkpoint nothing would be tested


def test_predict_writes_a_clip_of_each_item(
    tiny_config: Path, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(tiny_config, "--trainer.max_steps", "1") == 0
    predict = ["predict", "-c", str(tiny_config), "--ckpt_path", "last"]
    assert main(predict) == 0
    folder = tmp_path / "run/predictions"
    assert capsys.readouterr().out.strip().endswith(str(folder))
    clips = sorted(folder.iterdir())
    assert [path.name for path in clips] == [f"{index:04d}-clip.wav" for index in range(8)]
    sounds = [read_audio(path) for path in clips]
    assert all((sound.n_samples, sound.sample_rate) == (16 * 1280, 32_000) for sound in sounds)
    assert all(0 < np.abs(sound.samples).max() <= 0.951 for sound in sounds)
    shutil.copytree(tiny_data, tmp_path / "bare")
    shutil.rmtree(tmp_path / "bare/codec")
    assert main([*predict, "--data.init_args.folder", str(tmp_path / "bare")]) == 2
    assert "the codec/ that flowmusic prepare left" in capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_blocks_train_alike(tiny_config: Path, tmp_path: Path) -> None:
    weights = []
    for compiled in ("false", "true"):
        folder = tmp_path / compiled
        options = ("--model.init_args.compiled", compiled, "--trainer.default_root_dir", str(folder))
        assert fit(tiny_config, "--trainer.max_steps", "4", *options) == 0
        weights.append(read_checkpoint(folder / "checkpoints/last.ckpt")["state_dict"])
    plain, fused = weights
    assert plain.keys() == fused.keys()
    for name, value in plain.items():
        assert torch.allclose(value, fused[name], atol=1e-4), name


def test_what_is_shared_is_typed_once(tiny_config: Path) -> None:
    cli = parsed(tiny_config, "--trainer.max_steps", "5", "--seed_everything", "9")
    assert cli.datamodule.config is not None and cli.datamodule.config == cli.model.config
    assert cli.model.total_steps == 5 and cli.datamodule.seed == 9


def test_interpolation_follows_the_command_line(tiny_config: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    cli = parsed(tiny_config, "--trainer.default_root_dir", str(other))
    assert cli.trainer.logger.save_dir == str(other)
    assert Path(cli.trainer.checkpoint_callback.dirpath) == other / "checkpoints"


def test_a_later_config_goes_over_an_earlier_one(tiny_config: Path, tmp_path: Path) -> None:
    more = tmp_path / "more.yaml"
    more.write_text("trainer: {max_steps: 6}\nmodel: {init_args: {config: {width: 8}}}\n")
    cli = parsed(tiny_config, "-c", str(more), "--trainer.max_steps", "7")
    assert cli.model.config.width == 8 and cli.model.config.depth == 2 and cli.model.total_steps == 7


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("model: {init_args: {widht: 3}}", "widht"),
        ("model: {init_args: {config: {widht: 3}}}", "widht"),
        ("data: {init_args: {fodler: x}}", "fodler"),
        ("trainer: {max_step: 3}", "max_step"),
        ("trainr: {max_steps: 3}", "trainr"),
        ("model: {init_args: {config: {width: wide}}}", "width"),
    ],
)
def test_an_unknown_key_is_one_sentence_that_names_it(
    text: str, named: str, tiny_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = tmp_path / "more.yaml"
    more.write_text(text + "\n")
    assert fit(tiny_config, "-c", str(more)) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("flowmusic: error:") and named in said and len(said) < 300


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (("--data.init_args.folder", "nowhere"), "nowhere holds no prepared data"),
        (("--data.init_args.excerpt_frames", "95"), "train gives no excerpt of 3.8 s (95 latent frames)"),
        (("--model.init_args.config.latent_dim", "9"), "have 8 latent channels, the model expects 9"),
        (("--model.init_args.config.control_fold", "1"), "expects 1 control frames for each latent frame"),
        (("--model.init_args.time_weight", "heavy"), "time_weight must be one of uniform, 1+t"),
        (("--trainer.max_steps", "-1"), "trainer.max_steps"),
        (("--model.init_args.optimisation.learning_rate", "1e30"), "the loss became"),
        (("--model.init_args.init_from", "nowhere"), "nowhere"),
        (("--ckpt_path", "gone.ckpt"), "gone.ckpt"),
        (("--data.init_args.extracted_share", "2"), "extracted_share must be from 0 to 1, got 2.0"),
        (("--data.init_args.batch_size", "0"), "batch_size must be at least 1, got 0"),
        (("--data.init_args.batch_size", "two"), "data.batch_size: expected a whole number, got two"),
        (("--data.init_args.dropout.text", "3"), "text must be a probability from 0 to 1"),
        (("--model.init_args.optimisation.learning_rate", "-1"), "learning_rate must be positive"),
        (
            ("--model.init_args.optimisation.learning_rate", "x"),
            "model.optimisation.learning_rate: expected a number, got x",
        ),
        (
            ("--model.init_args.config.style", "{feature_dim: 0}"),
            "StyleConfig.feature_dim must be a positive",
        ),
        (("--checkpoint.every_n_steps", "-3"), "every_n_train_steps=-3"),
        (
            ("--trainer.precision", "fp16"),
            "trainer.precision: expected one of 32-true, bf16-mixed, 16-mixed, got fp16",
        ),
        (("--trainer.logger+=NeptuneX",), "trainer.logger: expected the import path of a class"),
        (
            ("--trainer.callbacks+=nosuch.Thing",),
            "trainer.callbacks: nosuch.Thing cannot be made: No module named",
        ),
        (
            ("--trainer.callbacks+=collections.OrderedDict",),
            "trainer.callbacks: Import path does not correspond",
        ),
        (("--data", "nosuch.Data"), "data: nosuch.Data cannot be made: No module named 'nosuch'"),
        (("--trainer.devices", "-7"), "`devices` selected with `CPUAccelerator` should be an int > 0"),
        (("--trainer.gradient_clip_val", "a"), "trainer.gradient_clip_val: expected a number, got a"),
        (("--seed_everything", "x"), "seed_everything: expected true or false or a whole number, got x"),
        (("--trainer.accelerator", "toaster"), "accelerator='toaster'"),
    ],
)
def test_what_cannot_work_is_one_sentence(
    more: tuple[str, ...], named: str, tiny_config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(tiny_config, *more) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("flowmusic: error:") and named in said and len(said) < 300
    assert "Union" not in said and "Namespace" not in said


@pytest.mark.parametrize("word", ["--trainer.logger+=WandbLogger", "--trainer.logger=WandbLogger"])
def test_a_logger_whose_package_is_missing_says_how_to_get_it(
    word: str, tiny_config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if find_spec("wandb"):
        pytest.skip("wandb is installed here")
    assert fit(tiny_config, word) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "trainer.logger: lightning.pytorch.loggers.WandbLogger cannot be made: wandb is not in" in said
    assert "pip install 'wandb" in said and len(said) < 200


def test_a_configuration_is_read_as_its_owner_means_it(
    tiny_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more, text = tmp_path / "more.yaml", "trainer: {max_steps: 6}  # f\u00fcr uns\r\n"
    more.write_bytes(text.encode("utf-8-sig"))
    assert parsed(tiny_config, "-c", str(more)).config.trainer.max_steps == 6
    kinds = {"latin-1": "line 1: cannot be read as UTF-8 text", "utf-16": "is text in UTF-16"}
    for encoding, message in kinds.items():
        more.write_bytes(text.encode(encoding))
        assert fit(tiny_config, "-c", str(more)) == 2
        said = capsys.readouterr().err.strip().splitlines()[-1]
        assert str(more) in said and message in said and said.endswith("save as UTF-8")
    more.write_bytes(LFS_POINTER)
    assert fit(tiny_config, "-c", str(more)) == 2
    assert "git lfs pull" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_nothing_is_tested_without_a_last_checkpoint(
    command: str, tiny_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "-c", str(tiny_config), "--ckpt_path", "last"]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"flowmusic {command} finds no last checkpoint of {tmp_path / 'run'}: fit first" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("precision", ["bf16-true", "16-true", "64-true"])
def test_weights_in_other_than_32_bits_are_refused(
    precision: str, tiny_config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(tiny_config, "--trainer.precision", precision) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"one of 32-true, bf16-mixed, 16-mixed, got '{precision}'" in said


def test_bf16_only_where_the_hardware_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    net = torch.nn.Conv1d(4, 4, 3, groups=4)
    check_precision("32-true", "cpu", net)
    monkeypatch.setattr("flowmusic.training.precision.cpu_has_bf16", lambda: False)
    with pytest.raises(ValueError, match="32-true"):
        check_precision("bf16-mixed", "cpu", net)
    monkeypatch.setattr("flowmusic.training.precision.cpu_has_bf16", lambda: True)
    monkeypatch.setattr("features.precision.relative_error", lambda *args: 0.01)
    check_precision("bf16-mixed", "cpu", net)
    monkeypatch.setattr(
        "features.precision.relative_error", lambda item, *args: float(item.function == "conv1d")
    )
    with pytest.raises(ValueError, match=r"conv1d with a weight of 4 x 1 x 3: relative error 1\).*32-true"):
        check_precision("bf16-mixed", "cpu", net)


def test_fit_refuses_a_precision_in_which_its_layers_come_out_wrong(
    tiny_config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("flowmusic.training.precision.cpu_has_bf16", lambda: True)
    right = torch.nn.functional.linear

    def garbled(x: torch.Tensor, *args: torch.Tensor, **kwargs: torch.Tensor) -> torch.Tensor:
        return right(x, *args, **kwargs) * (0 if x.dtype == torch.bfloat16 else 1)

    monkeypatch.setattr("torch.nn.functional.linear", garbled)
    relative_error.cache_clear()
    assert fit(tiny_config, "--trainer.precision", "bf16-mixed") == 2
    relative_error.cache_clear()
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "bfloat16 comes out wrong here (linear with a weight of" in said and "32-true" in said


def test_a_full_disk_is_one_sentence_and_the_old_checkpoint_stays(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(tiny_config) == 0
    last = tmp_path / "run/checkpoints/last.ckpt"
    before = last.read_bytes()

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    assert fit(tiny_config, "--ckpt_path", "last", "--trainer.max_steps", "12") == 2
    assert "No space left on device" in capsys.readouterr().err.strip().splitlines()[-1]
    assert last.read_bytes() == before and [path.name for path in last.parent.iterdir()] == ["last.ckpt"]
