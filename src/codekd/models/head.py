"""What every classifier ends in: the head, and the output that losses and captures read."""

from dataclasses import dataclass

from torch import Tensor, nn
from transformers.utils import ModelOutput


@dataclass
class ClassifierOutput(ModelOutput):
    """Logits, and on request the states of the embedding output and of every layer.

    Attributes:
        logits: ``(batch, classes)``, raw.
        hidden_states: embedding output + one per layer, each ``(batch, length, width)``.
        pooled: the same tuple, each ``(batch, pooled_width)``, pooled as the classifier pools.
    """

    logits: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    pooled: tuple[Tensor, ...] | None = None


class ClassificationHead(nn.Module):
    """Dense, tanh, projection, with dropout before each, as in ``RobertaClassificationHead``.

    From pooled states ``(batch, pooled_width)`` over ``(batch, width)`` to logits ``(batch, classes)``.
    """

    def __init__(self, pooled_width: int, width: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(pooled_width, width)
        self.dropout = nn.Dropout(dropout)
        self.out_proj = nn.Linear(width, classes)

    def forward(self, pooled: Tensor) -> Tensor:
        """Logits ``(batch, classes)`` of ``pooled`` ``(batch, pooled_width)``."""
        return self.out_proj(self.dropout(self.dense(self.dropout(pooled)).tanh()))
