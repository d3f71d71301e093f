"""The signal ``pooled``: pooled states of the embedding output and every layer, float16 ``(layers + 1, width)``."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from codekd.models.head import ClassifierOutput

HIDDEN_STATES = True


def extract(output: "ClassifierOutput") -> "Tensor":
    """Pooled states ``(batch, layers + 1, width)`` float16."""
    import torch

    assert output.pooled is not None
    return torch.stack(output.pooled, dim=1).half()
