"""Shared parts of methods on states: pooled states, relations between the examples of a batch, masked means."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from codekd.methods.base import Method, at_least_float32, hard_label_loss

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from codekd.data.batches import Batch
    from codekd.models.head import ClassifierOutput


def pooled_states(outputs: ClassifierOutput, batch: Batch) -> tuple[list[Tensor], list[Tensor]]:
    """Pooled states of student and teacher, at least float32.

    Returns:
        For each of both a list of ``(batch, width)``, one for the embedding output and one for every layer.
    """
    assert outputs.pooled is not None, "the method says that it reads the student's states"
    teacher = at_least_float32(batch.teacher["pooled"])
    return [at_least_float32(states) for states in outputs.pooled], list(teacher.unbind(1))


def mean_squared(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Mean squared difference where ``mask``, which broadcasts to ``student``, is true; 0 if that is nowhere."""
    mask = mask.expand_as(student)
    return ((student - teacher).square() * mask).sum() / mask.sum().clamp(min=1)


class BatchRelations(Method):
    """``label_weight CE + relations``: a loss on how the last pooled states of a batch relate to each other."""

    signals: ClassVar[tuple[str, ...]] = ("pooled",)
    student_states: ClassVar[bool] = True
    relates_examples: ClassVar[bool] = True

    label_weight: float = Field(default=1.0, gt=0, description="Weight of the cross-entropy with the labels.")

    def loss(self, outputs: ClassifierOutput, batch: Batch, parts: Module) -> Tensor:
        """Weighted sum of all terms."""
        (*_, student), (*_, teacher) = pooled_states(outputs, batch)
        hard = hard_label_loss(outputs.logits, batch)
        return self.label_weight * hard + self.relations(student, teacher)

    @abstractmethod
    def relations(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Weighted loss on the relations between states ``(batch, width)``, of any two widths."""
