"""Label smoothing: fine-tuning on softened labels, a control whose soft targets know nothing of the example."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from codekd.methods import ft
from codekd.methods.base import hard_label_loss

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from codekd.data.batches import Batch
    from codekd.models.head import ClassifierOutput


class Config(ft.Config):
    """``CE(z_s, q)`` with ``q = (1 - smoothing) onehot(y) + smoothing / classes``.

    A teacher's soft targets regularise as well as inform; these regularise alone. So what distillation gains over them
    is what the teacher knows of the example.

    Sources: Szegedy et al., "Rethinking the Inception Architecture", arXiv 1512.00567, section 7; Mueller et al., "When
    Does Label Smoothing Help?", arXiv 1906.02629.
    """

    control: ClassVar[bool] = True

    kind: Literal["smooth"] = Field(default="smooth", description="Fine-tuning on smoothed labels.")  # type: ignore[assignment]
    smoothing: float = Field(default=0.1, gt=0, lt=1, description="Share of a label that all classes have alike.")

    def loss(self, outputs: ClassifierOutput, batch: Batch, parts: Module) -> Tensor:
        """Mean cross-entropy with the smoothed labels over the labelled examples."""
        return hard_label_loss(outputs.logits, batch, smoothing=self.smoothing)
