"""Decoupled knowledge distillation: the target class apart from the others (Zhao et al. 2022)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field

from codekd.errors import CodekdError
from codekd.methods.base import Method, at_least_float32, hard_label_loss
from codekd.methods.kd import divergence

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from codekd.data.batches import Batch
    from codekd.models.head import ClassifierOutput


def decoupled_losses(student: Tensor, teacher: Tensor, targets: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Losses TCKD and NCKD: KL between "the target or not", and KL between the other classes; means over the batch.

    Args:
        student: logits ``(batch, classes)``.
        teacher: logits ``(batch, classes)``.
        targets: target class of each example, ``(batch,)`` int64.
        temperature: divides the logits.

    Source: Zhao et al., "Decoupled Knowledge Distillation", CVPR 2022, arXiv 2203.08679, equations 5 and 7.
    """
    from torch import stack
    from torch.nn.functional import one_hot

    is_target = one_hot(targets, student.shape[1]).bool()
    logs = [(at_least_float32(logits) / temperature).log_softmax(-1) for logits in (student, teacher)]
    binary = [stack([log[is_target], log.masked_fill(is_target, -float("inf")).logsumexp(-1)], dim=-1) for log in logs]
    others = [log[~is_target].view(len(log), -1).log_softmax(-1) for log in logs]
    return divergence(*binary), divergence(*others)


class Config(Method):
    """``label_weight CE + T^2 (alpha TCKD + beta NCKD)``: the target class, and the other classes among each other.

    The target is the label, or the teacher's prediction where there is none.
    """

    signals: ClassVar[tuple[str, ...]] = ("logits",)

    kind: Literal["dkd"] = Field(default="dkd", description="The target class apart from the others.")
    temperature: float = Field(default=4.0, gt=0, description="T, which both logits are divided by.")
    label_weight: float = Field(default=1.0, ge=0, description="Weight of the cross-entropy with the labels.")
    alpha: float = Field(default=1.0, ge=0, description="Weight of the target class.")
    beta: float = Field(default=8.0, ge=0, description="Weight of the other classes.")

    def for_classes(self, classes: int) -> Self:
        """Return a copy whose beta is 0 for two classes, where the one other class has probability 1 for both models.

        Raises:
            CodekdError: alpha is 0 as well, so that the teacher would have no say.
        """
        if classes > 2:
            return self
        if self.alpha == 0:
            raise CodekdError(
                "dkd with alpha 0 teaches nothing on two classes, where there is one other class: give alpha a weight"
            )
        return self.model_copy(update={"beta": 0.0})

    def loss(self, outputs: ClassifierOutput, batch: Batch, parts: Module) -> Tensor:
        """Weighted sum of the three terms."""
        teacher = batch.teacher["logits"]
        targets = batch.labels.where(batch.labels >= 0, teacher.argmax(-1))
        target, others = decoupled_losses(outputs.logits, teacher, targets, self.temperature)
        soft = self.temperature**2 * (self.alpha * target + self.beta * others)
        return self.label_weight * hard_label_loss(outputs.logits, batch) + soft
