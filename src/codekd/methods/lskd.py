"""Logit standardisation: soft targets from logits with mean 0 and deviation 1 in each example (Sun et al. 2024)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field

from codekd.errors import CodekdError
from codekd.methods.base import Method, at_least_float32, hard_label_loss
from codekd.methods.kd import soft_target_loss

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from codekd.data.batches import Batch
    from codekd.models.head import ClassifierOutput

TINY = 1e-7


def standardised(logits: Tensor) -> Tensor:
    """Z-scores ``(batch, classes)`` across the classes of logits of that shape.

    Source: Sun et al., "Logit Standardization in Knowledge Distillation", CVPR 2024, arXiv 2403.01427, algorithm 1.
    """
    logits = at_least_float32(logits)
    centred = logits - logits.mean(-1, keepdim=True)
    return centred / ((centred.square().sum(-1, keepdim=True) / (logits.shape[-1] - 1) + TINY**2).sqrt() + TINY)


class Config(Method):
    """``label_weight CE + beta T^2 KL(p_t, p_s)``, with soft targets from standardised logits."""

    signals: ClassVar[tuple[str, ...]] = ("logits",)

    kind: Literal["lskd"] = Field(default="lskd", description="Soft targets from standardised logits.")
    temperature: float = Field(default=2.0, gt=0, description="T, which both standardised logits are divided by.")
    label_weight: float = Field(default=0.1, ge=0, description="Weight of the cross-entropy with the labels.")
    beta: float = Field(default=9.0, gt=0, description="Weight of the soft targets.")

    def for_classes(self, classes: int) -> Self:
        """Return the method itself, for more than two classes.

        Raises:
            CodekdError: there are two classes; two standardised logits are a sign and nothing else.
        """
        if classes == 2:
            raise CodekdError(
                "lskd on two classes keeps only the sign of the teacher's answer: use kd, or pseudo for hard labels"
            )
        return self

    def loss(self, outputs: ClassifierOutput, batch: Batch, parts: Module) -> Tensor:
        """Weighted sum of the soft and the hard loss."""
        soft = soft_target_loss(standardised(outputs.logits), standardised(batch.teacher["logits"]), self.temperature)
        hard = hard_label_loss(outputs.logits, batch)
        return self.label_weight * hard + self.beta * self.temperature**2 * soft
