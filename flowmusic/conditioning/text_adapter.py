"""What a prompt in any words says, as plain words would have said it."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

DROPOUT = 0.3


class TextAdapter(nn.Module):
    """Moves the mean state of a prompt to where that of plain words is; what it adds starts at zero.

    It is trained by itself, on text alone (`flowmusic.training.text_adapter`): a flow is trained with only a
    few captions with each of many words, but that two of them mean the same can be learned without sound.

    Shape: (..., E) -> (..., E)
    """

    def __init__(self, text_dim: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(text_dim)
        self.expand, self.contract = nn.Linear(text_dim, hidden), nn.Linear(hidden, text_dim)
        self.dropout = nn.Dropout(DROPOUT)
        nn.init.zeros_(self.contract.weight)
        nn.init.zeros_(self.contract.bias)

    def forward(self, mean: Tensor) -> Tensor:
        added: Tensor = self.contract(self.dropout(functional.gelu(self.expand(self.norm(mean)))))
        return mean + added
