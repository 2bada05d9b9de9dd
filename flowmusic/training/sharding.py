"""FSDP2: weights, gradients, moments and average of a flow are shared out over all processes by blocks."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from flowmusic.model.transformer import FlowTransformer
from flowmusic.training.checkpoint import read_checkpoint

_CALLED = ("read_tokens", "prepare", "velocity")
"""What of a flow is called beside `forward`: there, too, its weights must be brought together."""


class Sharded(ModelParallelStrategy):
    """Lightning's strategy for FSDP2, over all processes of all nodes.

    A checkpoint is one whole file, as that of a single process: any number of processes can continue from it,
    with this strategy or another. It is put together in the CPU memory of the first process.
    """

    def __init__(self, process_group_backend: str | None = None) -> None:
        super().__init__(1, 1, save_distributed_checkpoint=False, process_group_backend=process_group_backend)

    def _setup_distributed(self) -> None:
        super()._setup_distributed()
        self._data_parallel_size = self.world_size

    # Lightning would number an optimiser's weights as the model has them. Numbered by its groups the file is
    # that of a single process.

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """The whole state, put together in the first process; nothing in the others."""
        assert self.model is not None
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        found: dict[str, Any] = get_optimizer_state_dict(self.model, _plain(optimizer), options=options)
        return _renamed(found, {name: number for number, name in enumerate(self._names(optimizer))})

    def load_checkpoint(
        self, checkpoint_path: str | Path, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Fill weights and optimiser from a whole file; returns what else it holds."""
        assert self.model is not None
        checkpoint = read_checkpoint(Path(self.broadcast(str(checkpoint_path))), mapped=True)
        options = StateDictOptions(full_state_dict=True)
        set_model_state_dict(self.model, checkpoint.pop("state_dict"), options=options)
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=False):
            named = _renamed(state, dict(enumerate(self._names(optimizer))))
            set_optimizer_state_dict(self.model, _plain(optimizer), named, options=options)
        return checkpoint

    def _names(self, optimizer: Optimizer) -> list[str]:
        """Those of its weights in the model, in the order of its groups."""
        assert self.model is not None
        names = {parameter: name for name, parameter in self.model.named_parameters()}
        return [names[parameter] for group in optimizer.param_groups for parameter in group["params"]]


def _plain(optimizer: Optimizer) -> Optimizer:
    """Without Lightning's wrapper."""
    return optimizer.optimizer if isinstance(optimizer, LightningOptimizer) else optimizer


def _renamed(state: dict[str, Any], names: Mapping[Any, Any]) -> dict[str, Any]:
    """An optimiser's state with other keys for its weights; an empty one as it is."""
    if not state:
        return state
    groups = [group | {"params": [names[key] for key in group["params"]]} for group in state["param_groups"]]
    return {"state": {names[key]: value for key, value in state["state"].items()}, "param_groups": groups}


def shard(net: FlowTransformer, mesh: DeviceMesh) -> None:
    """Share out a flow's weights, if that was not done: each block is brought together while it computes."""
    if isinstance(net, FSDPModule):
        return
    # of keys and values, on which nothing is computed in place
    warnings.filterwarnings("ignore", ".*returned a view tensor")
    for block in net.blocks:
        fully_shard(block, mesh=mesh)
        register_fsdp_forward_method(block, "keys_values")
    fully_shard(net, mesh=mesh)
    for name in _CALLED:
        register_fsdp_forward_method(net, name)


def own_weights(net: nn.Module) -> list[Tensor]:
    """This process's part of each weight of a network; all of it where the weights are not shared out."""
    if isinstance(net, FSDPModule):  # what was used last, without a backward pass, is still whole
        net.reshard()
    return [p.to_local() if isinstance(p, DTensor) else p for p in net.parameters()]


def clip_gradients(parameters: list[nn.Parameter], max_norm: float) -> Tensor:
    """`torch.nn.utils.clip_grad_norm_`; the norm is a plain tensor also where gradients are shared out."""
    norm = nn.utils.clip_grad_norm_(parameters, max_norm)
    return norm.full_tensor() if isinstance(norm, DTensor) else norm
