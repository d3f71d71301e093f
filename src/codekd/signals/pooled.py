"""The signal ``pooled``: pooled states of the embedding output and every layer, float16 ``(layers + 1, width)``."""

from typing import TYPE_CHECKING, ClassVar, Literal

from codekd.signals.base import Signal

if TYPE_CHECKING:
    from torch import Tensor

    from codekd.data.batches import Batch
    from codekd.models.head import ClassifierOutput


class Config(Signal):
    """Without settings."""

    hidden_states: ClassVar[bool] = True

    kind: Literal["pooled"] = "pooled"

    def extract(self, output: "ClassifierOutput", batch: "Batch") -> "Tensor":
        """Pooled states ``(batch, layers + 1, width)`` float16."""
        import torch

        assert output.pooled is not None
        return torch.stack(output.pooled, dim=1).half()
