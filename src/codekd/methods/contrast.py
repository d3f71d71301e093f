"""Soft targets and, for pairs whose sides are encoded apart, a contrast of each side with the other pairs' sides.

A classifier of pairs learns which features its pairs differ in; the contrast asks for vectors by which the other side
is found among many, which holds better on functionality that was not seen (arXiv 2510.04143). The last of a task's
classes is taken for that of pairs that are alike. Where both sides are one sequence, or there are no pairs, the method
is ``kd``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from codekd.methods import kd
from codekd.methods.base import at_least_float32

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from codekd.data.batches import Batch
    from codekd.models.head import ClassifierOutput


def info_nce(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """InfoNCE of every row: ``-log softmax_j(cos(u_i, v_j) / temperature)[i]``, ``(rows,)``.

    Args:
        first: vectors u, ``(rows, width)``.
        second: vectors v, ``(rows, width)``; row i belongs to row i of ``first``.
        temperature: divides the cosines.

    Source: van den Oord et al., "Representation Learning with Contrastive Predictive Coding", arXiv 1807.03748,
    equation 4.
    """
    from torch.nn.functional import normalize

    cosines = normalize(first, dim=-1) @ normalize(second, dim=-1).T
    return -(cosines / temperature).log_softmax(-1).diagonal()


def contrast_of_sides(first: Tensor, second: Tensor, alike: Tensor, sharpness: float) -> Tensor:
    """Mean of :func:`info_nce` in both directions, weighted by ``alike``; 0 where all weights are 0.

    Args:
        first: vectors of the first sides, ``(pairs, width)``.
        second: those of the second sides.
        alike: probabilities that the sides of a pair are alike, ``(pairs,)``.
        sharpness: temperature of the contrast.
    """
    first, second = at_least_float32(first), at_least_float32(second)
    each = (info_nce(first, second, sharpness) + info_nce(second, first, sharpness)) / 2
    total = alike.sum()
    return (alike * each).sum() / total.where(total > 0, 1)


class Config(kd.Config):
    """``kd`` plus ``beta`` times InfoNCE between the sides of pairs, each weighted by ``p_t[-1]``, that of a match."""

    relates_examples: ClassVar[bool] = True

    kind: Literal["contrast"] = Field(default="contrast", description="Soft targets and a contrast of sides.")  # type: ignore[assignment]
    beta: float = Field(default=0.1, gt=0, description="Weight of the contrast.")
    sharpness: float = Field(default=0.1, gt=0, description="What cosines are divided by, the contrast's temperature.")

    def loss(self, outputs: ClassifierOutput, batch: Batch, parts: Module) -> Tensor:
        """Loss of ``kd``, plus the weighted contrast where sides are encoded apart."""
        from codekd.models.pooling import sides

        loss = super().loss(outputs, batch, parts)
        if outputs.vectors is None:
            return loss
        contrast = contrast_of_sides(*sides(outputs.vectors), _alike(batch), self.sharpness)
        return loss + self.beta * contrast * batch.share(lambda one: _alike(one).sum())


def _alike(batch: Batch) -> Tensor:
    """Teacher's probabilities of the last class, ``(batch,)``."""
    return at_least_float32(batch.teacher["logits"]).softmax(-1)[:, -1]
