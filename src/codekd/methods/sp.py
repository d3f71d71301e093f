"""Similarity-preserving distillation: the Gram matrix of a batch (Tung & Mori 2019)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from codekd.methods._states import BatchRelations

if TYPE_CHECKING:
    from torch import Tensor


def similarity_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of the Gram matrices ``(batch, batch)``, their rows scaled to length 1.

    States are ``(batch, width)``, of any two widths.

    Source: Tung & Mori, "Similarity-Preserving Knowledge Distillation", ICCV 2019, arXiv 1907.09682, equation 4.
    """
    from torch.nn.functional import mse_loss, normalize

    first, second = (normalize(states @ states.T, dim=1) for states in (student, teacher))
    return mse_loss(first, second)


class Config(BatchRelations):
    """``label_weight CE + beta |G_s - G_t|^2 / batch^2`` on the last pooled states; G is their Gram matrix."""

    kind: Literal["sp"] = Field(default="sp", description="Similarities between the examples of a batch.")
    beta: float = Field(default=3000.0, gt=0, description="Weight of the similarities.")

    def relations(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Weighted loss on the similarities."""
        return self.beta * similarity_loss(student, teacher)
