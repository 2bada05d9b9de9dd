"""`flowmusic fit | validate | test | predict`: LightningCLI over the configs, with one-sentence errors."""

from __future__ import annotations

import codecs
import logging
import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from features.text_files import read_text
from flowmusic.training.checkpoint import LAST, LastCheckpoint
from flowmusic.training.refused_settings import one_sentence

RECIPES = Path(__file__).parents[1] / "recipes"
"""Where the recipes are that come with the package."""

LINKS = (
    ("model.init_args.config", "data.init_args.config"),
    ("model.init_args.config.sample_rate", "data.init_args.sample_rate"),
    ("trainer.max_steps", "model.init_args.total_steps"),
    ("seed_everything", "data.init_args.seed"),
    ("seed_everything", "model.init_args.seed"),
)
"""What two parts share is typed once: from the first place it is copied to the second."""

_LOST = re.compile(r"[Cc]onnection (closed|reset)|NCCL|[Gg]loo|Broken pipe|[Tt]imed out|heartbeat")

_UNUSABLE = (TypeError, ImportError, AttributeError, KeyError, AssertionError)
"""What parts of a training raise, beside ValueError, that cannot be made as settings say."""

TRAINER_DEFAULTS = {
    "use_distributed_sampler": False,  # the data modules give each process its own streams
    "max_epochs": -1,  # everything counts in steps
    "check_val_every_n_epoch": None,
    "plugins": [{"class_path": "flowmusic.training.checkpoint.WholeFileCheckpoints"}],
}


class TrainingCLI(LightningCLI):
    """LightningCLI with linked arguments, a `checkpoint` section (`LastCheckpoint`) and `ckpt_path`."""

    def __init__(self, command: str, argv: Sequence[str]) -> None:
        # not Lightning's sub-commands: with them ${trainer.x} would have to be ${fit.trainer.x}
        super().__init__(
            pl.LightningModule,
            pl.LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            seed_everything_default=0,
            trainer_defaults=TRAINER_DEFAULTS,
            save_config_kwargs={"overwrite": True},
            parser_kwargs={
                "description": "A recipe is a file, or the bare name of one that comes along: "
                f"flowmusic {command} -c finetune. See docs/training.md.",
                "parser_mode": "omegaconf+",
                "exit_on_error": False,
                "prog": f"flowmusic {command}",
            },
            args=list(argv),
            run=False,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_lightning_class_args(LastCheckpoint, "checkpoint")
        parser.add_argument(
            "--ckpt_path",
            type=str | None,
            default=None,
            help="a checkpoint, or `last`: the run's own last one",
        )
        for source, target in LINKS:
            parser.link_arguments(source, target)


class _Checked(TrainingCLI):
    def instantiate_classes(self) -> None:
        """Nothing is built."""


def parse(command: str, argv: Sequence[str]) -> TrainingCLI:
    """Model, data and trainer as configs and arguments say. ValueError where they say something wrong."""
    return _without_traceback(TrainingCLI, command, argv)


def check(command: str, argv: Sequence[str]) -> Any:
    """The settings that configs and arguments come to; every key is checked, nothing is built."""
    return _without_traceback(_Checked, command, argv).config


def data_of(argv: Sequence[str]) -> pl.LightningDataModule:
    """The data module that configs and arguments describe; model and trainer are not built."""
    from jsonargparse import ArgumentParser, Namespace

    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(pl.LightningDataModule, "data")
    built: pl.LightningDataModule = parser.instantiate_classes(Namespace(data=check("fit", argv).data)).data
    return built


def find_recipes(argv: Sequence[str]) -> list[str]:
    """The arguments with the files of recipes in the place of their bare names, as in `-c finetune`.

    Raises:
        ValueError: there is neither a file nor a recipe of that name; the message lists the recipes.
    """
    words = list(argv)
    for index, word in enumerate(words):
        option, equals, value = word.partition("=")
        if option not in ("-c", "--config"):
            continue
        if equals:
            words[index] = f"{option}={_recipe(value)}"
        elif index + 1 < len(words):
            words[index + 1] = _recipe(words[index + 1])
    return words


def _recipe(name: str) -> str:
    shipped = RECIPES / f"{name.removesuffix('.yaml').removeprefix('configs/')}.yaml"
    if os.path.isfile(name):  # noqa: PTH113 - it may be a whole configuration: too long a name
        text = read_text(name, "a configuration (YAML)", may_be_empty=True)
        if Path(name).read_bytes().removeprefix(codecs.BOM_UTF8) != text.encode():
            raise ValueError(f"{name} is text in UTF-16; expected a configuration in UTF-8: save as UTF-8")
        return name
    if not re.fullmatch(r"[\w./-]+", name):
        return name
    if shipped.is_file():
        return str(shipped)
    names = (str(path.relative_to(RECIPES).with_suffix("")) for path in RECIPES.rglob("*.yaml"))
    known = ", ".join(sorted(name for name in names if not name.startswith(("model/", "data/"))))
    raise ValueError(f"there is no file {name} and no recipe of that name; recipes: {known}")


def _without_traceback(kind: type[TrainingCLI], command: str, argv: Sequence[str]) -> TrainingCLI:
    from jsonargparse import ArgumentError
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    _quiet()
    try:
        return kind(command, find_recipes(argv))
    except (ArgumentError, ValueError, MisconfigurationException, *_UNUSABLE) as error:
        raise ValueError(one_sentence(str(error), argv)) from error


def run(command: str, argv: Sequence[str]) -> None:
    """Run `fit`, `validate`, `test` or `predict`. ValueError for anything wrong with arguments or data."""
    cli = parse(command, argv)
    ckpt_path = cli.config.ckpt_path
    if command != "fit" and ckpt_path is None:
        raise ValueError(f"flowmusic {command} needs --ckpt_path: a checkpoint, or `last`")
    if command != "fit" and ckpt_path == LAST and not _has_last_checkpoint(cli.trainer):
        raise ValueError(
            f"flowmusic {command} finds no last checkpoint of {cli.trainer.default_root_dir}: fit first, or "
            "name one with --ckpt_path"
        )
    more = {"return_predictions": False} if command == "predict" else {}  # they are files by then
    try:
        getattr(cli.trainer, command)(cli.model, cli.datamodule, ckpt_path=ckpt_path, **more)
    except RuntimeError as error:
        if cli.trainer.world_size > 1 and _LOST.search(str(error)):
            raise ConnectionError(
                f"another process of the training ended, so process {cli.trainer.global_rank} of "
                f"{cli.trainer.world_size} ends too: look for the first error above, and start again with "
                "--ckpt_path last"
            ) from error
        raise


def _has_last_checkpoint(trainer: pl.Trainer) -> bool:
    """Without one Lightning warns, and goes on with the weights as they were drawn."""
    callbacks = [c for c in trainer.checkpoint_callbacks if isinstance(c, LastCheckpoint)]
    return any(callback._find_last_checkpoints(trainer) for callback in callbacks)


def _quiet() -> None:
    """Advertisements and warnings that ask for nothing of the user."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
        lambda record: "litlogger" not in record.getMessage() and "litmodels" not in record.getMessage()
    )
    warnings.filterwarnings("ignore", ".*LightningCLI's args parameter.*")
    for text in (".*does not have many workers.*", ".*IterableDataset.*", ".*exists and is not empty.*"):
        warnings.filterwarnings("ignore", text)
