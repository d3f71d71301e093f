"""Which layer of a teacher a student's layer learns from, and the pooled states of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codekd.errors import CodekdError
from codekd.methods.base import at_least_float32

if TYPE_CHECKING:
    from torch import Tensor

    from codekd.data.batches import Batch
    from codekd.models.head import ClassifierOutput


def teacher_layers(student: int, teacher: int) -> list[int]:
    """The teacher's layer for each of the student's layers 1 to ``student``, by uniform skip; the last meets the last.

    Layers count from 1, the embedding output is 0.

    Raises:
        CodekdError: the student has more layers than the teacher.
    """
    if student > teacher:
        raise CodekdError(
            f"a student of {student} layers cannot learn layer by layer from a teacher of {teacher}: "
            "choose a shallower student, a deeper teacher, or a method on logits"
        )
    return [layer * teacher // student for layer in range(1, student + 1)]


def pooled_states(outputs: ClassifierOutput, batch: Batch) -> tuple[list[Tensor], list[Tensor]]:
    """The student's and the teacher's pooled states: ``(batch, width)`` for the embedding output and every layer."""
    assert outputs.pooled is not None, "the method says that it reads the student's states"
    teacher = at_least_float32(batch.teacher["pooled"])
    return [at_least_float32(states) for states in outputs.pooled], list(teacher.unbind(1))
