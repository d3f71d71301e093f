"""Similarity-preserving distillation: the Gram matrix of a batch (Tung & Mori 2019)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from codekd.methods._states import pooled_states
from codekd.methods.base import Method, hard_label_loss

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from codekd.data.batches import Batch
    from codekd.models.head import ClassifierOutput


def similarity_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of the Gram matrices ``(batch, batch)``, their rows scaled to length 1.

    States are ``(batch, width)``, of any two widths.

    Source: Tung & Mori, "Similarity-Preserving Knowledge Distillation", ICCV 2019, arXiv 1907.09682, equation 4.
    """
    from torch.nn.functional import mse_loss, normalize

    first, second = (normalize(states @ states.T, dim=1) for states in (student, teacher))
    return mse_loss(first, second)


class Config(Method):
    """``label_weight CE + beta |G_s - G_t|^2 / batch^2`` on the last pooled states."""

    signals: ClassVar[tuple[str, ...]] = ("pooled",)
    student_states: ClassVar[bool] = True

    kind: Literal["sp"] = Field(default="sp", description="Similarities between the examples of a batch.")
    label_weight: float = Field(default=1.0, gt=0, description="Weight of the cross-entropy with the labels.")
    beta: float = Field(default=3000.0, gt=0, description="Weight of the similarities.")

    def loss(self, outputs: ClassifierOutput, batch: Batch, parts: Module) -> Tensor:
        """The weighted sum of both terms."""
        (*_, student), (*_, teacher) = pooled_states(outputs, batch)
        hard = hard_label_loss(outputs.logits, batch.labels)
        return self.label_weight * hard + self.beta * similarity_loss(student, teacher)
