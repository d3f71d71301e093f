"""Multi-granularity structural distillation, its part on whole examples: angles in many subspaces (Liu et al. 2022)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from codekd.errors import CodekdError
from codekd.methods import kd
from codekd.methods._states import pooled_states
from codekd.methods.base import Sizes
from codekd.methods.rkd import angle_loss
from codekd.models.layers import middle_layer, teacher_layers

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from codekd.data.batches import Batch
    from codekd.models.head import ClassifierOutput


def interaction_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference, between student and teacher, of the scaled dot products of all pairs of a batch.

    States are ``(..., batch, width)``; a dot product is divided by the root of the width, as in attention.
    """
    from torch.nn.functional import mse_loss

    first, second = (states @ states.mT / states.shape[-1] ** 0.5 for states in (student, teacher))
    return mse_loss(first, second)


class Config(kd.Config):
    """``kd + sum_l (angle_weight L_angle + pair_weight L_pair)`` over the layers from the student's middle to its last.

    Relations are taken between the examples of a batch, in each of the ``heads`` equal parts of a state: the cosines of
    the angles of triplets, compared by smooth L1, and scaled dot products of pairs. One learned map brings the
    student's states to the teacher's width; a layer learns from the teacher's by uniform skip.

    Source: Liu et al., "Multi-Granularity Structural Knowledge Distillation for Language Model Compression", ACL 2022,
    with the weights of the authors' code, which relates examples by angles alone. Left out are tokens and spans, which
    the lower layers relate there. In that code states have 64 heads and are always the mean over the tokens, triplets
    with an example in them twice count in the mean, and the soft targets come in a second stage.
    """

    signals: ClassVar[tuple[str, ...]] = ("logits", "pooled")
    student_states: ClassVar[bool] = True
    by_layer: ClassVar[bool] = True
    relates_examples: ClassVar[bool] = True

    kind: Literal["mgskd"] = Field(default="mgskd", description="Angles between the examples of a batch.")  # type: ignore[assignment]
    heads: int = Field(default=8, ge=1, description="Parts of a state; must divide the teacher's pooled width.")
    angle_weight: float = Field(default=4.0, gt=0, description="Weight of the angles of triplets.")
    pair_weight: float = Field(default=0.0, ge=0, description="Weight of the scaled dot products of pairs.")

    def parts(self, sizes: Sizes) -> Module:
        """Build the map to the teacher's width.

        Raises:
            CodekdError: the student has more layers than the teacher, or the heads do not divide the teacher's width.
        """
        from torch.nn import Linear

        states, width = sizes.teacher["pooled"]
        teacher_layers(len(sizes.student) - 1, states - 1)
        if width % self.heads:
            fitting = max(heads for heads in range(1, self.heads) if width % heads == 0)
            raise CodekdError(
                f"mgskd cannot split the teacher's pooled states of width {width} into {self.heads} heads: "
                f"{fitting} would fit"
            )
        return Linear(sizes.student[-1], width)

    def loss(self, outputs: ClassifierOutput, batch: Batch, parts: Module) -> Tensor:
        """Loss of ``kd`` plus the weighted relations between examples."""
        student, teacher = pooled_states(outputs, batch)
        depth = len(student) - 1
        matched = teacher_layers(depth, len(teacher) - 1)
        total = super().loss(outputs, batch, parts)
        for layer in range(middle_layer(depth), depth + 1):
            pair = self._split(parts(student[layer])), self._split(teacher[matched[layer - 1]])
            total = total + self.angle_weight * angle_loss(*pair)
            if self.pair_weight:
                total = total + self.pair_weight * interaction_loss(*pair)
        return total

    def _split(self, states: Tensor) -> Tensor:
        """Heads ``(heads, batch, width / heads)`` of states ``(batch, width)``."""
        return states.unflatten(-1, (self.heads, -1)).transpose(0, 1)
