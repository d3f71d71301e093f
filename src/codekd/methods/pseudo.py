"""Hard labels from the teacher: a control that separates "more inputs" from "soft targets"."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from codekd.methods.base import Method, hard_label_loss

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from codekd.data.batches import Batch
    from codekd.models.head import ClassifierOutput


def pseudo_label_loss(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Mean over the batch of ``CE(z_s, argmax z_t)``, both logits ``(batch, classes)``.

    Source: Lee, "Pseudo-Label", ICML 2013 workshop, with the teacher in the place of the model itself.
    """
    return hard_label_loss(student_logits, teacher_logits.argmax(dim=-1))


class Config(Method):
    """Cross-entropy with the teacher's predictions, also where an example has a label of its own."""

    signals: ClassVar[tuple[str, ...]] = ("logits",)

    kind: Literal["pseudo"] = Field(default="pseudo", description="Hard labels from the teacher.")

    def loss(self, outputs: ClassifierOutput, batch: Batch, parts: Module) -> Tensor:
        """Mean cross-entropy with the teacher's predictions over the batch."""
        return pseudo_label_loss(outputs.logits, batch.teacher["logits"])
