"""The signal ``logits``: raw float32 logits ``(classes,)`` per example, never softmax, never divided by a temperature."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from codekd.models.head import ClassifierOutput

HIDDEN_STATES = False


def extract(output: "ClassifierOutput") -> "Tensor":
    """Logits ``(batch, classes)`` float32."""
    return output.logits.float()
