"""Running a batch: `Trainer.predict` over the rows, in one process or in many, each clip made once."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader, Dataset

from features.audio import Audio
from features.controls import Controls
from features.events import hear_events
from features.listen import Listener
from flowmusic.batch.manifest import Manifest, Row
from flowmusic.batch.store import BatchSettings, ClipStore
from flowmusic.batch.table import Summary, write_tables
from flowmusic.jobs import Job
from flowmusic.length import LengthRule
from flowmusic.making import make_clip
from flowmusic.pipeline import FlowMusic
from flowmusic.scoring import Choice, Judge, best_clip
from flowmusic.threads import using_threads

Progress = Callable[[int, int], None]
"""Called in the first process with (rows done, rows in all of this process)."""


def no_progress(done: int, total: int) -> None:
    """The progress callback that says nothing."""


@dataclass(frozen=True)
class Heard:
    """A row whose references were listened to (they are in the cache now), or why they cannot be."""

    row: Row
    finished: bool
    error: ValueError | None


class HeardRows(Dataset[Heard]):
    """The rows of a manifest; taking one listens to its references, so that worker processes do it ahead.

    Clips that are finished are not listened for again.
    """

    def __init__(self, manifest: Manifest, store: ClipStore, listener: Listener, lengths: LengthRule) -> None:
        self.manifest, self.store, self.listener, self.lengths = manifest, store, listener, lengths

    def __len__(self) -> int:
        return len(self.manifest)

    def __getitem__(self, index: int) -> Heard:
        row = self.manifest.row(index)
        if self.store.is_finished(row.name):
            return Heard(row, True, None)
        try:
            listen_ahead(row.job, self.listener, self.lengths, self.store.settings.scores)
        except ValueError as error:
            return Heard(row, False, error)
        return Heard(row, False, None)


def listen_ahead(job: Job, listener: Listener, lengths: LengthRule, events: bool) -> None:
    """Put into the cache what making (and scoring) a clip will ask of its references.

    ValueError where a reference cannot be used.
    """
    edit = job.edit()
    edit = None if edit is None else edit.opened()
    references = job.references()
    controls = None if job.controls is None else Controls.load(job.controls)
    listening_s = lengths.listening_s(lengths.duration_s(job.duration_s, references, controls, edit))
    stems: dict[str, Audio] = {}
    listener.listen(references, listening_s, job.loop_chords, stems=stems)
    if events:
        hear_events(listener, references, listening_s, job.loop_chords, stems)


class ClipMaker(LightningModule):
    """Makes, scores and writes one clip a step; what cannot be made is noted and the rest go on."""

    def __init__(self, model: FlowMusic, store: ClipStore, progress: Progress) -> None:
        super().__init__()
        # Kept from Lightning: nothing is trained, and the model stays on the device that it is on.
        self.made_with = (model,)
        self.store, self.progress = store, progress
        settings = store.settings
        self.choice = Choice(settings.candidates, settings.weights)
        self.judge = Judge(model.listener) if settings.scores else None

    def setup(self, stage: str) -> None:
        if self.trainer.is_global_zero:  # Lightning holds the other processes until this is done
            self.store.open()

    def transfer_batch_to_device(
        self, batch: list[Heard], device: torch.device, dataloader_idx: int
    ) -> list[Heard]:
        return batch  # there is no tensor in it

    def predict_step(self, batch: list[Heard], batch_idx: int) -> None:
        for heard in batch:
            self.make(heard)
        if self.trainer.is_global_zero:
            self.progress(batch_idx + 1, int(self.trainer.num_predict_batches[0]))

    def make(self, heard: Heard) -> None:
        row, (model,) = heard.row, self.made_with
        if heard.finished:
            return
        if heard.error is not None:
            self.store.fail(row.name, heard.error)
            return
        job = replace(row.job, loudness_lufs=row.job.loudness_lufs or self.store.settings.loudness_lufs)
        try:
            clip = best_clip(lambda asked: make_clip(model, asked), job, self.judge, self.choice)
        except (ValueError, ArithmeticError) as error:
            self.store.fail(row.name, error)
            return
        about = {"row": {"name": row.name, "line": row.line}, "rank": self.global_rank}
        clip = replace(clip, metadata=clip.metadata | about)
        self.store.save(row.name, clip, model.listener)

    def on_predict_end(self) -> None:
        self.trainer.strategy.barrier()  # the tables are written when all processes are done


def run_batch(
    model: FlowMusic,
    manifest: Manifest | str | Path,
    out: str | Path,
    settings: BatchSettings | None = None,
    devices: int = 1,
    nodes: int = 1,
    workers: int = 0,
    progress: Progress = no_progress,
) -> Summary | None:
    """Make every clip of a manifest in the folder `out`, or go on where an earlier run stopped.

    Args:
        settings: what all clips share; by default wav at -16 LUFS, scored.
        devices, nodes: processes (on a CPU) or GPUs a node, and nodes. More than one of either runs by
            Lightning's DDP: this program is started again for each, by Lightning, torchrun or SLURM.
        workers: further processes that listen to references ahead (spawned: a script that calls this
            needs `if __name__ == "__main__":`).

    Returns:
        What came of it, in the first process; None in the others.

    Raises:
        ValueError: a manifest with bad rows, or a folder that holds another batch; before any work.
        OutOfSpaceError: a clip could not be written.
    """
    rows = manifest if isinstance(manifest, Manifest) else Manifest(manifest)
    if model.listener.cache is None:
        raise ValueError("a batch needs a listener with a cache: Listener(cache=FeatureCache())")
    settings = settings or default_settings(model)
    store = ClipStore(Path(out), settings)
    store.check_settings()
    trainer = _trainer(model, devices, nodes, Path(out))
    loader: DataLoader[Heard] = DataLoader(
        HeardRows(rows, store, model.listener, model.lengths),
        batch_size=1,
        collate_fn=_as_list,
        num_workers=workers,
        multiprocessing_context="spawn" if workers else None,
        worker_init_fn=partial(_use_threads, settings.threads) if workers else None,
    )
    with warnings.catch_warnings(), using_threads(settings.threads):
        # It advises more worker processes, and uses what torch means to drop.
        warnings.filterwarnings("ignore", module="lightning")
        trainer.predict(ClipMaker(model, store, progress), loader, return_predictions=False)
    return write_tables(rows, store) if trainer.is_global_zero else None


def default_settings(model: FlowMusic) -> BatchSettings:
    return BatchSettings(model.model.fingerprint, model.listener.names)


def _trainer(model: FlowMusic, devices: int, nodes: int, out: Path) -> Trainer:
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    on_gpu = model.device.type == "cuda"
    spread = devices > 1 or nodes > 1
    strategy: Any = "auto"
    if spread:
        from lightning.pytorch.strategies import DDPStrategy

        strategy = DDPStrategy(process_group_backend="nccl" if on_gpu else "gloo")
    return Trainer(
        accelerator="gpu" if on_gpu else "cpu",
        strategy=strategy,
        devices=devices,
        num_nodes=nodes,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        inference_mode=False,
        default_root_dir=out,
    )


def _as_list(items: Sequence[Heard]) -> list[Heard]:
    return list(items)


def _use_threads(count: int, _: int) -> None:
    torch.set_num_threads(count)
