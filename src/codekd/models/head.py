"""Classification head and output of all classifiers.

Shapes:
    batch: examples of a batch.
    pooled_width: width of an example's pooled state, see :func:`codekd.models.pooling.pooled_width`.
    width: hidden width of a head.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput


@dataclass
class ClassifierOutput(ModelOutput):
    """Output of a classifier: logits and, on request, states of the embedding output and of every layer.

    Attributes:
        logits: raw, ``(batch, classes)``.
        hidden_states: embedding output + one per layer, each ``(rows, length, width)``; ``rows`` is ``batch``, or
            ``2 batch`` where the sides of a pair are encoded apart.
        pooled: the same tuple, each pooled to a vector per example, ``(batch, pooled_width)``.
        features: input of the head: the last pooled state, or its projection to a reused head,
            ``(batch, width of either)``.
        vectors: vectors of the sides of pairs before they are compared, ``(2 batch, width)``; None unless sides are
            apart.
    """

    logits: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    pooled: tuple[Tensor, ...] | None = None
    features: Tensor | None = None
    vectors: Tensor | None = None


class ClassificationHead(nn.Module):
    """Classification head: dense layer, tanh, linear layer, with dropout before each.

    The same as ``RobertaClassificationHead``: from pooled states ``(batch, pooled_width)`` over ``(batch, width)`` to
    logits ``(batch, classes)``.
    """

    def __init__(self, pooled_width: int, width: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(pooled_width, width)
        self.dropout = nn.Dropout(dropout)
        self.out_proj = nn.Linear(width, classes)

    def forward(self, pooled: Tensor) -> Tensor:
        """Logits ``(batch, classes)`` of pooled states ``(batch, pooled_width)``."""
        return self.out_proj(self.dropout(self.dense(self.dropout(pooled)).tanh()))


def classifier(
    pooled_width: int, width: int, classes: int, dropout: float, reused: Sequence[int] | None
) -> tuple[nn.Module, ClassificationHead]:
    """Build a classification head, and the projector that brings pooled states ``(batch, pooled_width)`` to it.

    Args:
        pooled_width: width of a pooled state.
        width: hidden width of a head of the model's own.
        classes: number of classes.
        dropout: dropout probability in the head.
        reused: input width and hidden width of a head that is taken from another model; None for a head of its own.

    Returns:
        The projector, which is linear for a reused head and else the identity, and the head.
    """
    if reused is None:
        return nn.Identity(), ClassificationHead(pooled_width, width, classes, dropout)
    features, width = reused
    return nn.Linear(pooled_width, features), ClassificationHead(features, width, classes, dropout)


def reuse_head(model: PreTrainedModel, folder: Path) -> None:
    """Replace a model's head by that of the model in a folder, frozen, behind a new linear projection.

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
