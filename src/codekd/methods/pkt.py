"""Probabilistic knowledge transfer: affinities of a batch as probabilities (Passalis & Tefas 2018)."""

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

TINY = 1e-7


def affinity_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over all pairs of ``p_t log(p_t / p_s)``, p being a row of cosine affinities that sum to 1.

    States are ``(batch, width)``, of any two widths; an affinity is ``(1 + cos) / 2``.

    Source: Passalis & Tefas, "Learning Deep Representations with Probabilistic Knowledge Transfer", ECCV 2018,
    arXiv 1803.10837, equations 3 to 6 with the cosine kernel.
    """
    first, second = (_affinities(states) for states in (student, teacher))
    return (second * ((second + TINY) / (first + TINY)).log()).mean()


def _affinities(states: Tensor) -> Tensor:
    from torch.nn.functional import normalize

    directions = normalize(states, dim=1)
    affinities = (1 + directions @ directions.T) / 2
    return affinities / affinities.sum(1, keepdim=True)


class Config(Method):
    """``label_weight CE + beta KL(P_t, P_s)`` on the last pooled states."""

    signals: ClassVar[tuple[str, ...]] = ("pooled",)
    student_states: ClassVar[bool] = True

    kind: Literal["pkt"] = Field(default="pkt", description="Affinities between the examples of a batch.")
    label_weight: float = Field(default=1.0, gt=0, description="Weight of the cross-entropy with the labels.")
    beta: float = Field(default=30000.0, gt=0, description="Weight of the affinities.")

    def loss(self, outputs: ClassifierOutput, batch: Batch, parts: Module) -> Tensor:
        """The weighted sum of both terms."""
        (*_, student), (*_, teacher) = pooled_states(outputs, batch)
        hard = hard_label_loss(outputs.logits, batch.labels)
        return self.label_weight * hard + self.beta * affinity_loss(student, teacher)
