"""DIST: match correlations instead of probabilities (Huang et al. 2022)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from codekd.errors import CodekdError
from codekd.methods.base import Method, at_least_float32, hard_label_loss

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from codekd.data.batches import Batch
    from codekd.models.head import ClassifierOutput


def dist_losses(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Losses on the relation between classes and on that across the batch, two scalars in [0, 2].

    With ``p = softmax(z / temperature)``: 1 - mean over examples of the Pearson correlation of ``p_s`` and ``p_t``
    across classes, and 1 - mean over classes of that across the batch, which is 0 for a batch of one example. Logits
    are ``(batch, classes)``.

    Source: Huang et al., "Knowledge Distillation from A Stronger Teacher", NeurIPS 2022, arXiv 2205.10536, equations 8
    to 10 (without the factor T^2 of its code: a correlation does not shrink with T).
    """
    student = (at_least_float32(student_logits) / temperature).softmax(dim=-1)
    teacher = (at_least_float32(teacher_logits) / temperature).softmax(dim=-1)
    between_classes = 1 - pearson(student, teacher, dim=1).mean()
    across_batch = 1 - pearson(student, teacher, dim=0).mean()
    return between_classes, across_batch * (len(student) > 1)


def pearson(first: Tensor, second: Tensor, dim: int) -> Tensor:
    """Pearson correlation along ``dim``; 0, with a gradient of zero, where either is constant."""
    return (standardised(first, dim) * standardised(second, dim)).sum(dim)


def standardised(values: Tensor, dim: int) -> Tensor:
    """``values`` with mean 0 and norm 1 along ``dim``; all 0 where they vary no more than their rounding."""
    from torch import finfo

    centred = values - values.mean(dim, keepdim=True)
    spread = centred.square().sum(dim, keepdim=True)
    constant = spread <= (finfo(values.dtype).eps * values).square().sum(dim, keepdim=True)
    return (centred * spread.masked_fill(constant, 1).rsqrt()).masked_fill(constant, 0)


class Config(Method):
    """``label_weight CE + beta (1 - mean_i rho(p_s_i, p_t_i)) + gamma (1 - mean_c rho(p_s_c, p_t_c))``.

    rho is the Pearson correlation: over classes for each example i, and over the batch for each class c.
    """

    signals: ClassVar[tuple[str, ...]] = ("logits",)
    relates_examples: ClassVar[bool] = True

    kind: Literal["dist"] = Field(default="dist", description="DIST: match correlations.")
    temperature: float = Field(default=4.0, gt=0, description="T, which both logits are divided by.")
    label_weight: float = Field(default=1.0, ge=0, description="Weight of the cross-entropy with the labels.")
    beta: float = Field(default=1.0, ge=0, description="Weight of the relation between classes.")
    gamma: float = Field(default=1.0, ge=0, description="Weight of the relation across the batch.")

    @model_validator(mode="after")
    def _teacher_has_weight(self) -> Self:
        if self.beta == self.gamma == 0:
            raise ValueError("beta and gamma are both 0: nothing is learned from the teacher; use kind ft instead")
        return self

    def for_classes(self, classes: int) -> Self:
        """Return a copy whose beta is 0 for two classes, else the method itself.

        Two probabilities that sum to 1 correlate at exactly 1 or -1 whatever they are, so the relation between classes
        is constant there and has no gradient.

        Raises:
            CodekdError: gamma is 0 as well, so that the teacher would have no say.
        """
        if classes > 2:
            return self
        if self.gamma == 0:
            raise CodekdError("dist with gamma 0 teaches nothing on two classes: give gamma a weight")
        return self.model_copy(update={"beta": 0.0})

    def loss(self, outputs: ClassifierOutput, batch: Batch, parts: Module) -> Tensor:
        """Weighted sum of the three terms."""
        between_classes, across_batch = dist_losses(outputs.logits, batch.teacher["logits"], self.temperature)
        hard = hard_label_loss(outputs.logits, batch)
        return self.label_weight * hard + self.beta * between_classes + self.gamma * across_batch
