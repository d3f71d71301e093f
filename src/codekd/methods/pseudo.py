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


def predicted_labels(batch: Batch) -> Tensor:
    """Classes that the teacher predicts, ``(batch,)`` int64."""
    return batch.teacher["logits"].argmax(dim=-1)


class Config(Method):
    """``CE(z_s, argmax z_t)``, also where an example has a label of its own.

    Source: Lee, "Pseudo-Label", ICML 2013 workshop, with the teacher in the place of the model itself.
    """

    signals: ClassVar[tuple[str, ...]] = ("logits",)

    kind: Literal["pseudo"] = Field(default="pseudo", description="Hard labels from the teacher.")

    def loss(self, outputs: ClassifierOutput, batch: Batch, parts: Module) -> Tensor:
        """Mean cross-entropy with the teacher's predictions over the batch."""
        return hard_label_loss(outputs.logits, batch, predicted_labels)
