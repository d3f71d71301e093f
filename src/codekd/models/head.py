"""What every classifier ends in: the head, and the output that losses and captures read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput


@dataclass
class ClassifierOutput(ModelOutput):
    """Logits, and on request the states of the embedding output and of every layer.

    Attributes:
        logits: ``(batch, classes)``, raw.
        hidden_states: embedding output + one per layer, each ``(batch, length, width)``.
        pooled: the same tuple, each ``(batch, pooled_width)``, pooled as the classifier pools.
        features: what the head reads, ``(batch, width)``: the last pooled state, or its projection.
        vectors: ``(2 batch, width)``, of each side what is compared with the other, where sides are apart.
    """

    logits: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    pooled: tuple[Tensor, ...] | None = None
    features: Tensor | None = None
    vectors: Tensor | None = None


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


def classifier(
    pooled_width: int, width: int, classes: int, dropout: float, reused: Sequence[int] | None
) -> tuple[nn.Module, ClassificationHead]:
    """What brings pooled states ``(batch, pooled_width)`` to a head, and the head.

    A head of the model's own has its ``width`` and reads the states as they are. One of another model, whose pooled
    width and width are ``reused``, reads a linear projection of them.
    """
    if reused is None:
        return nn.Identity(), ClassificationHead(pooled_width, width, classes, dropout)
    features, width = reused
    return nn.Linear(pooled_width, features), ClassificationHead(features, width, classes, dropout)


def reuse_head(model: PreTrainedModel, folder: Path) -> None:
    """Give a model, in the place of its own head, that of the model in a folder, frozen, and a projection to it.

    All other weights stay as they are.
    """
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        names = [name for name in file.keys() if name.startswith("head.")]  # noqa: SIM118  (not a dict)
        weights = {name.removeprefix("head."): file.get_tensor(name) for name in names}
    width, features = weights["dense.weight"].shape
    model.config.reused_head = [features, width]
    model.projector = nn.Linear(model.head.dense.in_features, features)
    model.head = ClassificationHead(features, width, model.config.num_labels, model.head.dropout.p)
    model.head.load_state_dict(weights)
    model.head.requires_grad_(False)
