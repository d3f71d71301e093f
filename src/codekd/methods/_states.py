"""The pooled states of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codekd.methods.base import at_least_float32

if TYPE_CHECKING:
    from torch import Tensor

    from codekd.data.batches import Batch
    from codekd.models.head import ClassifierOutput


def pooled_states(outputs: ClassifierOutput, batch: Batch) -> tuple[list[Tensor], list[Tensor]]:
    """The student's and the teacher's pooled states: ``(batch, width)`` for the embedding output and every layer."""
    assert outputs.pooled is not None, "the method says that it reads the student's states"
    teacher = at_least_float32(batch.teacher["pooled"])
    return [at_least_float32(states) for states in outputs.pooled], list(teacher.unbind(1))
