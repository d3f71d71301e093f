"""Relational knowledge distillation: distances and angles between the examples of a batch (Park et al. 2019)."""

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

TINY = 1e-12


def distance_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Smooth L1 between pairwise distances, each divided by the mean over the pairs of its own batch.

    States are ``(batch, width)``, of any two widths; a mean over the ordered pairs of different examples.

    Source: Park et al., "Relational Knowledge Distillation", CVPR 2019, arXiv 1904.05068, equations 5 to 7.
    """
    from torch.nn.functional import smooth_l1_loss

    if len(student) < 2:
        return 0.0 * student.sum()
    first, second = (_scaled_distances(states) for states in (student, teacher))
    return smooth_l1_loss(first, second)


def angle_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Smooth L1 between the cosines of the angles that triplets of examples form.

    States are ``(batch, width)``, of any two widths; a mean over all ordered triplets of different examples.

    Source: as ``distance_loss``, equations 8 and 9.
    """
    from torch import eye
    from torch.nn.functional import smooth_l1_loss

    different = ~eye(len(student), device=student.device).bool()
    distinct = different[:, :, None] & different[:, None, :] & different[None, :, :]
    if not distinct.any():
        return 0.0 * student.sum()
    first, second = (_angles(states)[distinct] for states in (student, teacher))
    return smooth_l1_loss(first, second)


def _scaled_distances(states: Tensor) -> Tensor:
    from torch import eye

    different = ~eye(len(states), device=states.device).bool()
    difference = (states[:, None] - states)[different]
    distances = (difference.square().sum(-1) + TINY).sqrt()
    return distances / distances.mean().clamp(min=TINY)


def _angles(states: Tensor) -> Tensor:
    """Cosine of the angle at example i between j and k: ``(i, j, k)``."""
    from torch.nn.functional import normalize

    directions = normalize(states[None] - states[:, None], dim=-1)
    return directions @ directions.mT


class Config(Method):
    """``label_weight CE + distance_weight L_distance + angle_weight L_angle`` on the last pooled states."""

    signals: ClassVar[tuple[str, ...]] = ("pooled",)
    student_states: ClassVar[bool] = True

    kind: Literal["rkd"] = Field(default="rkd", description="Relations between the examples of a batch.")
    label_weight: float = Field(default=1.0, gt=0, description="Weight of the cross-entropy with the labels.")
    distance_weight: float = Field(default=25.0, ge=0, description="Weight of the pairwise distances.")
    angle_weight: float = Field(default=50.0, ge=0, description="Weight of the angles of triplets.")

    def loss(self, outputs: ClassifierOutput, batch: Batch, parts: Module) -> Tensor:
        """The weighted sum of the three terms."""
        (*_, student), (*_, teacher) = pooled_states(outputs, batch)
        return (
            self.label_weight * hard_label_loss(outputs.logits, batch.labels)
            + self.distance_weight * distance_loss(student, teacher)
            + self.angle_weight * angle_loss(student, teacher)
        )
