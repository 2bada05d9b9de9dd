"""Residual vector quantisation: a bottleneck of a few small codebooks, each for what the last left over."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn

USAGE_DECAY = 0.97
DEAD_SHARE = 0.03
"""A code that is used less than this share of the mean is replaced."""


@dataclass(frozen=True)
class Quantised:
    """Quantised vectors, and how far they are from what came in.

    Shape (V vectors):
        values      (V, N)            sums of the codes in use; with straight-through gradients
        codes       (V, n_codebooks)  which code of each codebook
        commitment  () scalar         mean squared distance, with a gradient towards the codes
    """

    values: Tensor
    codes: Tensor
    commitment: Tensor


class ResidualQuantiser(nn.Module):
    """Codebooks, each of which quantises what those before it left (SoundStream, arXiv 2107.03312, §III-C).

    Codes follow the mean of the vectors that chose them (exponential moving averages, arXiv 1711.00937,
    appendix A.1), so they take no gradient. They start as vectors of the first batch, and a code that is
    hardly used any more becomes a vector of the batch again: both draw from `generator`. In a distributed
    training the batch is that of all processes together, and rank 0's generator draws, so that the codebooks
    are everywhere the same. Every process must then call it in every step, with no vectors if it has none.

    Shape: vectors (V, N); n_codebooks None, or (V,) whole numbers, how many each vector may use -> Quantised
    """

    codebooks: Tensor
    usage: Tensor
    ready: Tensor

    def __init__(self, n_codebooks: int, codes: int, width: int) -> None:
        super().__init__()
        self.n_codebooks, self.codes = n_codebooks, codes
        self.register_buffer("codebooks", torch.zeros(n_codebooks, codes, width))
        self.register_buffer("usage", torch.zeros(n_codebooks, codes))  # moving average of vectors a batch
        self.register_buffer("ready", torch.zeros((), dtype=torch.int64))

    def forward(
        self, vectors: Tensor, n_codebooks: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Quantised:
        with torch.autocast(vectors.device.type, enabled=False):
            return self._quantise(vectors.float(), n_codebooks, generator)

    def _quantise(
        self, vectors: Tensor, n_codebooks: Tensor | None, generator: torch.Generator | None
    ) -> Quantised:
        if self.training and generator is None:
            raise ValueError("training the quantiser draws codes at random: expected a generator, got None")
        residual, total, chosen = vectors.detach(), torch.zeros_like(vectors), []
        n_vectors = int(_summed(torch.tensor(len(vectors), device=vectors.device))) if self.training else 0
        starting = n_vectors > 0 and not bool(self.ready)
        for index in range(self.n_codebooks):
            if starting and generator is not None:
                self.codebooks[index] = _draw(residual, n_vectors, self.codes, generator)
                self.usage[index] = n_vectors / self.codes
            nearest = _nearest(residual, self.codebooks[index])  # (V,)
            values = self.codebooks[index][nearest]  # (V, N)
            if n_vectors and generator is not None:
                self._follow(index, residual, nearest, n_vectors, generator)
            residual = residual - values
            total = total + (values if n_codebooks is None else values * (index < n_codebooks)[:, None])
            chosen.append(nearest)
        if starting:
            self.ready.fill_(1)
        commitment = (vectors - total).square().mean()
        return Quantised(vectors + (total - vectors).detach(), torch.stack(chosen, dim=1), commitment)

    @torch.no_grad()
    def _follow(
        self, index: int, residual: Tensor, nearest: Tensor, n_vectors: int, generator: torch.Generator
    ) -> None:
        """With usage n and code c, and k vectors of sum s that chose it: c' = (d n c + (1 - d) s) / n'."""
        counts = torch.zeros_like(self.usage[index]).index_add_(0, nearest, torch.ones_like(residual[:, 0]))
        sums = torch.zeros_like(self.codebooks[index]).index_add_(0, nearest, residual)
        counts, sums = _summed(counts), _summed(sums)
        kept = USAGE_DECAY * self.usage[index]
        usage = kept + (1 - USAGE_DECAY) * counts
        moved = kept[:, None] * self.codebooks[index] + (1 - USAGE_DECAY) * sums
        self.codebooks[index] = moved / usage.clamp(min=1e-8)[:, None]
        self.usage[index] = usage
        mean = n_vectors / self.codes
        dead = (usage < DEAD_SHARE * mean).nonzero()[:, 0]
        if dead.numel():
            self.codebooks[index, dead] = _draw(residual, n_vectors, dead.numel(), generator)
            self.usage[index, dead] = 0.3 * mean


def _nearest(vectors: Tensor, codes: Tensor) -> Tensor:
    """Index (V,) of the nearest of codes (K, N)."""
    # |v - c|^2 = |v|^2 - 2 v c + |c|^2, of which the first part is the same for all codes
    return (codes.square().sum(dim=1) - 2 * vectors @ codes.T).argmin(dim=1)


def _draw(vectors: Tensor, n_vectors: int, n: int, generator: torch.Generator) -> Tensor:
    """(n, N) of the vectors (V, N) of all processes, `n_vectors` together; repeated where there are fewer."""
    if n_vectors >= n:
        index = torch.randperm(n_vectors, generator=generator)[:n].to(vectors.device)
    else:
        index = torch.randint(n_vectors, (n,), generator=generator).to(vectors.device)
    if not _is_distributed():
        return vectors[index]
    distributed.broadcast(index, 0)
    n_own = torch.zeros(distributed.get_world_size(), dtype=torch.long, device=vectors.device)
    n_own[distributed.get_rank()] = len(vectors)
    ends = _summed(n_own).cumsum(0)
    place = index - (ends[distributed.get_rank()] - len(vectors))
    own = (place >= 0) & (place < len(vectors))
    drawn = vectors.new_zeros(n, vectors.shape[1])
    drawn[own] = vectors[place[own]]  # each of the drawn vectors is one process's, and zero elsewhere
    return _summed(drawn)


def _is_distributed() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _summed(values: Tensor) -> Tensor:
    """The sum over all processes; the values themselves where there is one."""
    if _is_distributed():
        distributed.all_reduce(values)
    return values
