"""Knowledge distillation with soft targets (Hinton et al. 2015)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from codekd.methods.base import Method, at_least_float32, hard_label_loss

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from codekd.data.batches import Batch
    from codekd.models.head import ClassifierOutput


def soft_target_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Mean over the batch of ``KL(p_t, p_s)`` with ``p = softmax(z / temperature)``.

    Both logits are ``(batch, classes)``. The loss differs from the soft cross-entropy ``-sum p_t log p_s`` by the
    teacher's entropy, hence has the same gradient, which falls with the square of the temperature.

    Source: Hinton et al., "Distilling the Knowledge in a Neural Network", arXiv 1503.02531, section 2.
    """
    student = (at_least_float32(student_logits) / temperature).log_softmax(dim=-1)
    teacher = (at_least_float32(teacher_logits) / temperature).log_softmax(dim=-1)
    return divergence(student, teacher)


def divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over the batch of ``KL(p_t, p_s)`` of log-probabilities ``(batch, classes)``."""
    return (teacher.exp() * (teacher - student)).sum(dim=-1).mean()


class Config(Method):
    """``alpha T^2 KL(p_t, p_s) + (1 - alpha) CE(z_s, y)``, KL over all examples, CE over labelled ones."""

    signals: ClassVar[tuple[str, ...]] = ("logits",)

    kind: Literal["kd"] = Field(default="kd", description="Knowledge distillation with soft targets.")
    temperature: float = Field(default=4.0, gt=0, description="T, which both logits are divided by.")
    alpha: float = Field(default=0.9, gt=0, le=1, description="Weight of the soft targets; the labels have the rest.")
    scale_by_squared_temperature: bool = Field(
        default=True,
        description="Multiply the soft loss by T^2, so that its gradient keeps its size when T changes.",
    )

    def loss(self, outputs: ClassifierOutput, batch: Batch, parts: Module) -> Tensor:
        """Weighted sum of the soft and the hard loss."""
        soft = soft_target_loss(outputs.logits, batch.teacher["logits"], self.temperature)
        scale = self.temperature**2 if self.scale_by_squared_temperature else 1.0
        return self.alpha * scale * soft + (1 - self.alpha) * hard_label_loss(outputs.logits, batch)
