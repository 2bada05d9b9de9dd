"""What all trainings share: optimiser, average, seeds, modes, checks, and sound files of predictions."""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.strategies import FSDPStrategy
from torch import Tensor, nn

from features.audio import Audio, normalise_peak, write_audio
from flowmusic.data.order import seed_of
from flowmusic.data.stepped import Batch, SteppedData
from flowmusic.model.transformer import FlowTransformer
from flowmusic.model_files import Terms
from flowmusic.training.precision import check_precision
from flowmusic.training.sharding import Sharded, clip_gradients, own_weights, shard

PREDICTIONS_FOLDER = "predictions"
READ_EVERY = 20
"""Steps between looks at the loss on a GPU."""


@dataclass(frozen=True)
class Optimisation:
    """AdamW with a schedule that counts optimiser steps; matrices alone are decayed (`is_decayed`).

    warmup_steps   steps of a linear rise to `learning_rate`
    decay_steps    steps of a linear fall to a hundredth of it, at the end
    ema_decay      of the average of the weights, which is what is validated and exported
    """

    learning_rate: float = 1e-3
    warmup_steps: int = 300
    decay_steps: int = 1200
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    ema_decay: float = 0.999

    def __post_init__(self) -> None:
        if self.learning_rate <= 0 or self.warmup_steps < 0 or self.decay_steps < 0:
            raise ValueError(f"learning_rate must be positive and steps not negative, got {self}")
        if not 0.0 <= self.ema_decay < 1.0:
            raise ValueError(f"expected 0 <= ema_decay < 1, got {self.ema_decay}")


def is_decayed(name: str, parameter: Tensor) -> bool:
    """Whether weight decay applies: to weights of two axes or more, not to norms, biases, learned vectors."""
    return name.endswith("weight") and sum(size > 1 for size in parameter.shape) > 1


class Ema(nn.Module):
    """An exponential moving average of a module's weights; early on it forgets faster.

    The average is a module of its own, so that it is saved, moved and sharded like any other.
    """

    updates: Tensor

    def __init__(self, module: nn.Module, decay: float) -> None:
        super().__init__()
        self.module = copy.deepcopy(module).requires_grad_(False)
        self.decay = decay
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))

        self._n_updates: int | None = (
            None  # `updates` as a number: read once, since a GPU would be waited for
        )

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        self._n_updates = n = (int(self.updates) if self._n_updates is None else self._n_updates) + 1
        self.updates += 1
        weight = 1.0 - min(self.decay, (1 + n) / (10 + n))
        torch._foreach_lerp_(own_weights(self.module), own_weights(module), weight)
        for average, value in zip(self.module.buffers(), module.buffers(), strict=True):
            average.copy_(value)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._n_updates = None


class Training(pl.LightningModule):
    """Base of the LightningModules. `net` is trained, `ema.module` is its average.

    What is drawn at random in a step (dropout) depends on `seed` and the number of its batch alone, and parts
    that are frozen are in evaluation mode: so a run that is resumed does what an unbroken one would.

    total_steps   optimiser steps in all (linked to trainer.max_steps)
    seed          of the random draws
    """

    def __init__(self, net: nn.Module, optimisation: Optimisation, total_steps: int, seed: int = 0) -> None:
        super().__init__()
        if total_steps < 1:
            raise ValueError(f"the schedule needs trainer.max_steps of at least 1, got {total_steps}")
        self.net, self.ema = net, Ema(net, optimisation.ema_decay)
        self.optimisation, self.total_steps, self.seed = optimisation, total_steps, seed
        self._last_loss, self._unread_losses = torch.zeros(()), 0
        self.terms = Terms()
        """Licence and credits of the weights that the training starts from: what it makes inherits them."""

    @property
    def average(self) -> nn.Module:
        return self.ema.module

    def describe(self) -> dict[str, Any]:
        """Plain values that `flowmusic export` needs to build the net again."""
        raise NotImplementedError

    def train(self, mode: bool = True) -> Self:
        """Training mode for all but the frozen parts, whose dropout would still act."""
        super().train(mode)
        for module in self.modules():
            parameters = list(module.parameters())
            if parameters and not any(parameter.requires_grad for parameter in parameters):
                module.eval()
        return self

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        torch.manual_seed(seed_of(self.seed, batch.number, self.global_rank))

    def setup(self, stage: str) -> None:
        if isinstance(self.trainer.strategy, FSDPStrategy):
            raise ValueError(
                "Lightning's FSDPStrategy flattens the weights; expected flowmusic.training.sharding.Sharded "
                "(-c trainer/fsdp)"
            )
        check_precision(str(self.trainer.precision), self.trainer.strategy.root_device.type, self.net)
        self.train(self.training)  # modules are built in training mode, frozen ones too

    def configure_model(self) -> None:
        strategy = self.trainer.strategy
        if not isinstance(strategy, Sharded):
            return
        for net in (self.net, self.ema.module):
            if not isinstance(net, FlowTransformer) or net.style is not None:
                raise ValueError(
                    "only a flow without style can be shared out over processes: use --trainer.strategy ddp"
                )
            shard(net, strategy.device_mesh["data_parallel"])

    def configure_optimizers(self) -> dict[str, Any]:
        plan = self.optimisation
        decayed: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for name, parameter in self.net.named_parameters():
            if parameter.requires_grad:
                (decayed if is_decayed(name, parameter) else others).append(parameter)
        groups = [
            {"params": decayed, "weight_decay": plan.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        # one kernel for all weights; in float16 it would unscale the gradients itself, after they are clipped
        on_gpu = all(parameter.device.type in ("cuda", "xpu") for parameter in decayed + others)
        fused = on_gpu and str(self.trainer.precision) != "16-mixed"
        optimiser = torch.optim.AdamW(groups, lr=plan.learning_rate, betas=plan.betas, fused=fused)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser,
            lambda step: learning_rate_at(step, 1.0, plan.warmup_steps, self.total_steps, plan.decay_steps),
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        # Lightning's own arguments pass through: the average follows each step, before any checkpoint
        super().optimizer_step(*args, **kwargs)
        self.ema.update(self.net)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        if not gradient_clip_val or gradient_clip_algorithm == "value":
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)
        else:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            self.log("train/gradient_norm", clip_gradients(parameters, float(gradient_clip_val)))

    def check_loss(self, loss: Tensor) -> Tensor:
        """The loss; ValueError where it, or one since the last look, is NaN or infinite.

        On a GPU losses are looked at every READ_EVERY steps and before a checkpoint, because a number that is
        read there waits for all that was computed before it.
        """
        before = self._last_loss.to(loss.device)
        self._last_loss = torch.where(torch.isfinite(before), loss.detach(), before)  # the first bad one
        self._unread_losses += 1
        if self._reads_at_once(loss) or self._unread_losses >= READ_EVERY:
            self._read_loss()
        return loss

    def _reads_at_once(self, loss: Tensor) -> bool:
        return loss.device.type == "cpu"

    def _read_loss(self) -> None:
        found, n_unread = float(self._last_loss), self._unread_losses
        self._unread_losses = 0
        if not math.isfinite(found):
            when = f"at step {self.global_step}"
            if n_unread > 1:
                when = f"in one of the {n_unread} batches before step {self.global_step + 1}"
            raise ValueError(
                f"the loss became {found} {when}: lower the learning rate, or look at the data with "
                "flowmusic prepare --check"
            )

    def log_loss(self, name: str, value: Tensor, batch_size: int) -> None:
        training = self.trainer.training
        # a progress bar reads what it shows at every step, which a GPU would be waited for
        shown = not training or value.device.type == "cpu"
        self.log(
            name, value.detach(), on_step=training, on_epoch=not training, prog_bar=shown,
            batch_size=batch_size, sync_dist=not training,
        )  # fmt: skip

    @property
    def predictions(self) -> Path:
        """Where `predict` writes what `predict_step` returns: the `Clips` of each item."""
        return Path(self.trainer.default_root_dir) / PREDICTIONS_FOLDER

    def on_predict_batch_end(
        self, outputs: Sequence[Clips], batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        # processes get the same number of items: each writes numbers of its own
        part = batch_idx * self.trainer.world_size + self.trainer.global_rank
        write_clips(self.predictions, outputs, part * batch.size)

    def on_predict_end(self) -> None:
        if self.trainer.is_global_zero:
            sys.stdout.write(f"{self.predictions}\n")

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        states = checkpoint.get("optimizer_states", [])
        if any(len(state["param_groups"]) != 2 for state in states):
            raise ValueError(
                "the checkpoint's optimiser decays all parameters alike, as earlier versions did, and "
                "cannot go on: export it, and start anew from its weights with --model.init_args.init_from"
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._read_loss()  # before the last good checkpoint is replaced
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        about = data.describe() if isinstance(data, SteppedData) else {}
        checkpoint["flowmusic"] = self.describe() | {"data": about, "terms": asdict(self.terms)}


def learning_rate_at(step: int, peak: float, warmup_steps: int, total_steps: int, decay_steps: int) -> float:
    """Linear warm-up, a constant stretch, a linear decay to a hundredth over the last `decay_steps`."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    left = total_steps - step
    return peak * max(min(1.0, left / max(decay_steps, 1)), 0.01)


Clips = dict[str, Audio]
"""Sounds of one item of a batch, by what they are."""


def sound_of(samples: Tensor, sample_rate: int) -> Audio:
    """(C, S) of a network as sound that does not clip."""
    values = samples.float().cpu().numpy()
    return Audio(
        normalise_peak(values, 0.95) if np.abs(values).max(initial=0.0) > 0.95 else values, sample_rate
    )


def write_clips(folder: Path, items: Sequence[Clips], first: int) -> None:
    """FOLDER/<number>-<name>.wav; the items are numbered from `first`."""
    for number, clips in enumerate(items, first):
        for name, clip in clips.items():
            write_audio(folder / f"{number:04d}-{name}.wav", clip.samples, clip.sample_rate)
