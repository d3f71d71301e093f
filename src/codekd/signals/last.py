"""Signal ``last``: the mean of the last layer's states over the real tokens, float16 ``(width,)``.

It is the vector that sentence encoders make of a text (Reimers and Gurevych 2019, arXiv 1908.10084), special tokens
included.
"""

from typing import TYPE_CHECKING, ClassVar, Literal

from codekd.data.splits import SPLITS
from codekd.signals.base import Signal, TeacherShape

if TYPE_CHECKING:
    from torch import Tensor

    from codekd.data.batches import Batch
    from codekd.models.head import ClassifierOutput


class Config(Signal):
    """Settings of the signal ``last``, which has none."""

    hidden_states: ClassVar[bool] = True
    tolerance: ClassVar[float] = 1e-2

    kind: Literal["last"] = "last"

    @property
    def splits(self) -> tuple[str, ...]:
        """All splits: how much a student is like the teacher is judged on what it did not learn from."""
        return SPLITS

    def row_bytes(self, teacher: TeacherShape) -> int:
        """Bytes of an example's row: two a number."""
        return 2 * teacher.width

    def extract(self, output: "ClassifierOutput", batch: "Batch") -> "Tensor":
        """Mean states ``(batch, width)`` float16, however the classifier pools."""
        from codekd.models.pooling import pool

        assert output.hidden_states is not None
        return pool(output.hidden_states[-1], batch.input_ids, batch.attention_mask, "mean").half()
