"""How much memory a training needs: parameters, gradients, optimiser, average, activations.

Activations are counted, not guessed: one training loss is run with torch's fake tensors, which have shapes
but no numbers, and every tensor that autograd keeps for the backward pass is added up. So the largest shapes
can be asked about on any machine, with or without a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from flowmusic.conditioning.condition import Condition
from flowmusic.conditioning.text import TextTokens
from flowmusic.flow.path import loss_at
from flowmusic.model.config import FlowConfig
from flowmusic.model.transformer import FlowTransformer

TEXT_TOKENS = 32
MIXED = "bf16-mixed"


@dataclass(frozen=True)
class Memory:
    """Bytes of one training process. A mixed precision keeps weights, gradients and moments in 32 bits."""

    parameters: int
    gradients: int
    optimiser: int
    average: int
    activations: int

    @property
    def total(self) -> int:
        return self.parameters + self.gradients + self.optimiser + self.average + self.activations


def training_memory(
    config: FlowConfig, batch_size: int, n_frames: int, precision: str = "32-true", recompute: bool = False
) -> Memory:
    """Of a flow with AdamW and an average, for a batch of `n_frames` latent frames.

    In bf16-mixed attention is counted as a CPU computes it; fused kernels of a GPU keep less.
    """
    with FakeTensorMode(), torch.device("cpu"):
        net = FlowTransformer(config)
        net.recompute = recompute
        bytes_each = 4 * sum(parameter.numel() for parameter in net.parameters())
        kept = _kept_for_backward(net, batch_size, n_frames, precision == MIXED)
    return Memory(bytes_each, bytes_each, 2 * bytes_each, bytes_each, kept)


def _kept_for_backward(net: FlowTransformer, batch_size: int, n_frames: int, mixed: bool) -> int:
    """Bytes of all different tensors, but the parameters, that autograd saves."""
    own = {parameter.untyped_storage()._cdata for parameter in net.parameters()}
    kept: dict[int, Tensor] = {}

    def save(tensor: Tensor) -> Tensor:
        kept.setdefault(tensor.untyped_storage()._cdata, tensor)
        return tensor

    config = net.config
    text = torch.zeros(batch_size, TEXT_TOKENS, config.text_dim)
    tokens = TextTokens(text, torch.ones(text.shape[:2], dtype=torch.bool))
    condition = Condition.null(batch_size, n_frames, config).with_tokens(tokens)
    x_1, t = torch.zeros(batch_size, n_frames, config.latent_dim), torch.zeros(batch_size)
    with (
        torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=mixed),
    ):
        prepared = net.prepare(condition)
        loss_at(lambda x_t, times: net.velocity(x_t, times, prepared), torch.zeros_like(x_1), x_1, t)
    return sum(tensor.untyped_storage().nbytes() for key, tensor in kept.items() if key not in own)
