"""Signal ``pooled``: pooled states of the embedding output and every layer, float16 ``(layers + 1, width)``."""

from typing import TYPE_CHECKING, ClassVar, Literal

from codekd.signals.base import Signal, TeacherShape

if TYPE_CHECKING:
    from torch import Tensor

    from codekd.data.batches import Batch
    from codekd.models.head import ClassifierOutput


class Config(Signal):
    """Settings of the signal ``pooled``, which has none."""

    hidden_states: ClassVar[bool] = True
    tolerance: ClassVar[float] = 1e-2

    kind: Literal["pooled"] = "pooled"

    def row_bytes(self, teacher: TeacherShape) -> int:
        """Bytes of an example's row: two a number."""
        return 2 * (teacher.layers + 1) * teacher.pooled_width

    def extract(self, output: "ClassifierOutput", batch: "Batch") -> "Tensor":
        """Pooled states ``(batch, layers + 1, width)`` float16."""
        import torch

        assert output.pooled is not None
        return torch.stack(output.pooled, dim=1).half()
