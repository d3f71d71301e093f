"""The signal ``logits``: raw float32 logits ``(classes,)``, never softmax, never divided by a temperature."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from codekd.models.head import ClassifierOutput

HIDDEN_STATES = False


def extract(output: "ClassifierOutput") -> "Tensor":
    """Logits ``(batch, classes)`` float32."""
    assert output.logits is not None
    return output.logits.float()
