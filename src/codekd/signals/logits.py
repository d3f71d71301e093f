"""Signal ``logits``: raw float32 logits ``(classes,)``, never softmax, never divided by a temperature."""

from typing import TYPE_CHECKING, ClassVar, Literal

from codekd.signals.base import Signal, TeacherShape

if TYPE_CHECKING:
    from torch import Tensor

    from codekd.data.batches import Batch
    from codekd.models.head import ClassifierOutput


class Config(Signal):
    """Settings of the signal ``logits``, which has none."""

    tolerance: ClassVar[float] = 1e-3

    kind: Literal["logits"] = "logits"

    def row_bytes(self, teacher: TeacherShape) -> int:
        """Bytes of an example's row: four a class."""
        return 4 * teacher.classes

    def extract(self, output: "ClassifierOutput", batch: "Batch") -> "Tensor":
        """Logits ``(batch, classes)`` float32."""
        return output.logits.float()
