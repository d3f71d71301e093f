"""Probabilistic knowledge transfer: affinities of a batch as probabilities (Passalis & Tefas 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from codekd.methods._states import BatchRelations

if TYPE_CHECKING:
    from torch import Tensor

TINY = 1e-7


def affinity_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over all pairs of examples of ``p_t log(p_t / p_s)``, p being a row of affinities that sum to 1.

    States are ``(batch, width)``, of any two widths; an affinity is ``(1 + cos) / 2``.

    Source: Passalis & Tefas, "Learning Deep Representations with Probabilistic Knowledge Transfer", ECCV 2018, arXiv
    1803.10837, equations 3 to 6 with the cosine kernel.
    """
    first, second = (_affinities(states) for states in (student, teacher))
    return (second * ((second + TINY) / (first + TINY)).log()).mean()


def _affinities(states: Tensor) -> Tensor:
    from torch.nn.functional import normalize

    directions = normalize(states, dim=1)
    affinities = (1 + directions @ directions.T) / 2
    return affinities / affinities.sum(1, keepdim=True)


class Config(BatchRelations):
    """``label_weight CE + beta KL(P_t, P_s)`` on the last pooled states; P are affinities within a batch."""

    kind: Literal["pkt"] = Field(default="pkt", description="Affinities between the examples of a batch.")
    beta: float = Field(default=30000.0, gt=0, description="Weight of the affinities.")

    def relations(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Weighted loss on the affinities."""
        return self.beta * affinity_loss(student, teacher)
