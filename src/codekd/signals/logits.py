"""The signal ``logits``: raw float32 logits ``(classes,)``, never softmax, never divided by a temperature."""

from typing import TYPE_CHECKING, Literal

from codekd.signals.base import Signal

if TYPE_CHECKING:
    from torch import Tensor

    from codekd.data.batches import Batch
    from codekd.models.head import ClassifierOutput


class Config(Signal):
    """Without settings."""

    kind: Literal["logits"] = "logits"

    def extract(self, output: "ClassifierOutput", batch: "Batch") -> "Tensor":
        """Logits ``(batch, classes)`` float32."""
        return output.logits.float()
