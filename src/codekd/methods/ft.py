"""Fine-tuning on the labels alone: the student without a teacher."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from codekd.methods.base import Method, hard_label_loss

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from codekd.data.batches import Batch
    from codekd.models.head import ClassifierOutput


class Config(Method):
    """``CE(z_s, y)``, the cross-entropy with the labels."""

    kind: Literal["ft"] = Field(default="ft", description="Fine-tuning on the labels alone.")
    transfer: Literal["labelled"] = Field(
        default="labelled", description="Without a teacher only labelled examples teach anything."
    )

    def loss(self, outputs: ClassifierOutput, batch: Batch, parts: Module) -> Tensor:
        """Mean cross-entropy over the labelled examples."""
        return hard_label_loss(outputs.logits, batch)
