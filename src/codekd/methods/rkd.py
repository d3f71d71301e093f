"""Relational knowledge distillation: distances and angles between the examples of a batch (Park et al. 2019)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from codekd.methods._states import BatchRelations

if TYPE_CHECKING:
    from torch import Tensor

TINY = 1e-12


def distance_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Smooth L1 between pairwise distances, each divided by the mean over the pairs of its own batch.

    States are ``(batch, width)``, of any two widths; the loss is a mean over the pairs of different examples.

    Source: Park et al., "Relational Knowledge Distillation", CVPR 2019, arXiv 1904.05068, equations 5 to 7.
    """
    from torch.nn.functional import smooth_l1_loss

    if len(student) < 2:
        return 0.0 * student.sum()
    first, second = (_scaled_distances(states) for states in (student, teacher))
    return smooth_l1_loss(first, second)


def angle_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Smooth L1 between the cosines of the angles that triplets of examples form.

    States are ``(..., batch, width)``, of any two widths; the loss is a mean over all ordered triplets of different
    examples.

    Source: as ``distance_loss``, equations 8 and 9.
    """
    from codekd.methods._angles import angle_difference

    batch = student.shape[-2]
    first, second = (states.reshape(-1, batch, states.shape[-1]) for states in (student, teacher))
    return angle_difference(first, second) / max(1, len(first) * batch * (batch - 1) * (batch - 2))


def _scaled_distances(states: Tensor) -> Tensor:
    from torch.nn.functional import pdist

    distances = pdist(states)
    return distances / distances.mean().clamp(min=TINY)


class Config(BatchRelations):
    """``label_weight CE + distance_weight L_distance + angle_weight L_angle`` on the last pooled states."""

    kind: Literal["rkd"] = Field(default="rkd", description="Relations between the examples of a batch.")
    distance_weight: float = Field(default=25.0, ge=0, description="Weight of the pairwise distances.")
    angle_weight: float = Field(default=50.0, ge=0, description="Weight of the angles of triplets.")

    def relations(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Weighted sum of the losses on distances and on angles."""
        distances = self.distance_weight * distance_loss(student, teacher)
        return distances + self.angle_weight * angle_loss(student, teacher)
