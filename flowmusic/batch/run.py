"""Running a batch: `Trainer.predict` over the rows, in one process or in many, each clip made once."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader

from flowmusic.api.clip import RowInfo
from flowmusic.api.model import FlowMusic
from flowmusic.api.request import Request
from flowmusic.batch.ahead import PreparedRow, PreparedRows
from flowmusic.batch.manifest import Manifest, Row
from flowmusic.batch.ranks import alone_in, bound_to_parent
from flowmusic.batch.store import BatchSettings, ClipStore, OutOfSpaceError
from flowmusic.batch.table import BatchSummary, write_tables
from flowmusic.errors import is_out_of_memory, reason
from flowmusic.evaluation.scoring import Choice, Judge, candidates, chosen
from flowmusic.runtime import free_memory, using_threads

log = logging.getLogger(__name__)
MAX_WAIT = timedelta(days=30)

Progress = Callable[[int, int], None]
"""Called in the first process with (rows done, rows in all of this process)."""


def no_progress(done: int, total: int) -> None:
    """The progress callback that says nothing."""


class ClipMaker(LightningModule):
    """Makes, scores and writes the clips of some rows; what cannot be made is noted, and the rest go on."""

    def __init__(self, model: FlowMusic, store: ClipStore, progress: Progress) -> None:
        super().__init__()
        # Kept from Lightning: nothing is trained, and the model stays on the device that it is on.
        self.made_with = (model,)
        self.store, self.progress, self.n_seen = store, progress, 0
        settings = store.settings
        self.choice = Choice(settings.candidates, settings.weights)
        self.judge = Judge(model.extractors) if settings.scores else None

    def setup(self, stage: str) -> None:
        if self.trainer.is_global_zero:  # Lightning holds the other processes until this is done
            self.store.open()

    def transfer_batch_to_device(
        self, batch: list[PreparedRow], device: torch.device, dataloader_idx: int
    ) -> list[PreparedRow]:
        return batch  # there is no tensor in it

    def predict_step(self, batch: list[PreparedRow], batch_idx: int) -> None:
        for prepared in batch:
            if prepared.error is not None and not prepared.finished:
                self.store.fail(prepared.row.name, prepared.error)
        rows = [item.row for item in batch if not item.finished and item.error is None]
        if len(rows) > 1 and self._why_not_made(rows) is None:
            rows = []
        for row in rows:  # one at a time, or one of several failed: the others can still be made
            if not self.store.is_finished(row.name) and (failure := self._why_not_made([row])) is not None:
                self.store.fail(row.name, failure)
        if self.trainer.is_global_zero:
            self.n_seen += len(batch)
            self.progress(self.n_seen, len(self.trainer.predict_dataloaders.sampler))

    def _why_not_made(self, rows: Sequence[Row]) -> str | None:
        """Make and write the clips of some rows; None, or the reason why that cannot be done.

        Only a disk that is full ends the batch.
        """
        try:
            self._make(rows)
            return None
        except OutOfSpaceError:
            raise
        except Exception as error:  # whatever is wrong with one row, the others can still be made
            log.debug("%s failed", ", ".join(row.name for row in rows), exc_info=True)
            failure, starved = reason(error), is_out_of_memory(error)
        # The error is gone here, and with it the tensors of the frames where it was raised.
        if starved:
            free_memory(self.made_with[0].model.device)
        return failure

    def _make(self, rows: Sequence[Row]) -> None:
        (model,) = self.made_with
        prepared = [model.prepare(self._request(row)) for row in rows]
        draws = [candidates(item, self.judge, self.choice) for item in prepared]
        clips = model.render_draws([draw for of_row in draws for draw in of_row])
        for row, item, of_row in zip(rows, prepared, draws, strict=True):
            clip = chosen(list(islice(clips, len(of_row))), item, self.judge, self.choice)
            clip = clip.with_info(row=RowInfo(name=row.name, line=row.line, rank=self.global_rank))
            self.store.save(row.name, clip, model.extractors)

    def _request(self, row: Row) -> Request:
        """The request of a row, at the loudness of the batch."""
        request, loudness = row.request, self.store.settings.loudness
        # What is kept of a context has its own level.
        if request.loudness is None and request.context is None and loudness is not None:
            request = request.replace(loudness=loudness)
        return request

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
) -> BatchSummary | None:
    """Make every clip of a manifest in the folder `out`, or go on where an earlier run stopped.

    Args:
        settings: what all clips share; by default wav at -16 LUFS, scored.
        devices, nodes: processes (on a CPU) or GPUs a node, and nodes. More than one of either runs by
            Lightning's DDP: this program is started again for each, by Lightning, torchrun or SLURM.
        workers: further processes that extract references ahead (spawned: a script that calls this
            needs `if __name__ == "__main__":`).

    Returns:
        What came of it, in the first process; None in the others.

    Raises:
        ValueError: a manifest with bad rows, or a folder that holds another batch or in which another
            run is still writing; before any work.
        OutOfSpaceError: a clip could not be written.
    """
    rows = manifest if isinstance(manifest, Manifest) else Manifest(manifest)
    if model.extractors.cache is None:
        raise ValueError("a batch needs extractors with a cache: Extractors(cache=FeatureCache())")
    settings = settings or default_settings(model)
    store = ClipStore(Path(out), settings)
    store.check_settings()
    trainer = _trainer(model, devices, nodes, Path(out))
    loader: DataLoader[PreparedRow] = DataLoader(
        PreparedRows(rows, store, model.extractors, model.limits),
        batch_size=max(1, model.batch_size // settings.candidates),
        collate_fn=_as_list,
        num_workers=workers,
        multiprocessing_context="spawn" if workers else None,
        worker_init_fn=partial(_use_threads, settings.threads) if workers else None,
    )
    with bound_to_parent(), alone_in(Path(out), trainer.global_rank, trainer.world_size, _launches(trainer)):
        with warnings.catch_warnings(), using_threads(settings.threads):
            # It advises more worker processes, and uses what torch means to drop.
            warnings.filterwarnings("ignore", module="lightning")
            trainer.predict(ClipMaker(model, store, progress), loader, return_predictions=False)
        return write_tables(rows, store) if trainer.is_global_zero else None


def default_settings(model: FlowMusic) -> BatchSettings:
    return BatchSettings(model.model.fingerprint, model.extractors.names, dtype=model.model.dtype_name)


def _trainer(model: FlowMusic, devices: int, nodes: int, out: Path) -> Trainer:
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    on_gpu = model.model.device.type == "cuda"
    spread = devices > 1 or nodes > 1
    strategy: Any = "auto"
    if spread:
        from lightning.pytorch.strategies import DDPStrategy

        # A process that is done waits for the others, whose last clips may take hours.
        strategy = DDPStrategy(process_group_backend="nccl" if on_gpu else "gloo", timeout=MAX_WAIT)
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


def _launches(trainer: Trainer) -> bool:
    """Whether this process is the only one so far: the others of this run are started by it, if at all."""
    environment = getattr(trainer.strategy, "cluster_environment", None)
    return trainer.num_nodes == 1 and (environment is None or not environment.creates_processes_externally)


def _as_list(items: Sequence[PreparedRow]) -> list[PreparedRow]:
    return list(items)


def _use_threads(count: int, _: int) -> None:
    torch.set_num_threads(count)
