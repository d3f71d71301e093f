"""Fine-tuning on the labels alone: the student without a teacher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from codekd.methods.base import Method, hard_label_loss

if TYPE_CHECKING:
    from torch import Tensor

    from codekd.models.head import ClassifierOutput


class Config(Method):
    """``CE(z_s, y)``."""

    kind: Literal["ft"] = Field(default="ft", description="Fine-tuning on the labels alone.")
    transfer: Literal["labelled"] = Field(
        default="labelled", description="Without a teacher only labelled examples teach anything."
    )

    def loss(self, outputs: ClassifierOutput, labels: Tensor, teacher: Mapping[str, Tensor]) -> Tensor:
        """Mean cross-entropy over the labelled examples."""
        return hard_label_loss(outputs.logits, labels)
