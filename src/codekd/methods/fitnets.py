"""FitNets: a hint from the middle of the teacher (Romero et al. 2015)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from codekd.methods import kd
from codekd.methods._states import pooled_states
from codekd.methods.base import Sizes
from codekd.models.layers import middle_layer, teacher_layers

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from codekd.data.batches import Batch
    from codekd.models.head import ClassifierOutput


def hint_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of a student's mapped states and a teacher's, both ``(batch, width)``.

    Source: Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015, arXiv 1412.6550, equation 3, with the mean
    over elements in the place of half the sum.
    """
    return (student - teacher).square().mean()


class Config(kd.Config):
    """``kd + beta MSE(W h_s, h_t)`` between pooled states of the middle layers.

    W is a learned map from the student's width to the teacher's. Training has one stage; the original trains the lower
    half with the hint first.
    """

    signals: ClassVar[tuple[str, ...]] = ("logits", "pooled")
    student_states: ClassVar[bool] = True
    by_layer: ClassVar[bool] = True

    kind: Literal["fitnets"] = Field(default="fitnets", description="A hint from the middle of the teacher.")  # type: ignore[assignment]
    beta: float = Field(default=10.0, gt=0, description="Weight of the hint.")

    def parts(self, sizes: Sizes) -> Module:
        """Build the regressor W.

        Raises:
            CodekdError: the student has more layers than the teacher.
        """
        from torch.nn import Linear

        depth, (states, width) = len(sizes.student) - 1, sizes.teacher["pooled"]
        teacher_layers(depth, states - 1)
        return Linear(sizes.student[middle_layer(depth)], width)

    def loss(self, outputs: ClassifierOutput, batch: Batch, parts: Module) -> Tensor:
        """Loss of ``kd`` plus the weighted hint."""
        student, teacher = pooled_states(outputs, batch)
        depth = len(student) - 1
        guided = middle_layer(depth)
        hint = teacher[teacher_layers(depth, len(teacher) - 1)[guided - 1]]
        return super().loss(outputs, batch, parts) + self.beta * hint_loss(parts(student[guided]), hint)
