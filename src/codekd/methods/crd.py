"""Contrastive representation distillation: tell the teacher's state of an example from those of others (Tian 2020)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, cast

from pydantic import Field

from codekd.errors import CodekdError
from codekd.methods._states import pooled_states
from codekd.methods.base import Method, Sizes, hard_label_loss

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from codekd.data.batches import Batch
    from codekd.methods._contrast import Contrast
    from codekd.models.head import ClassifierOutput


def contrastive_loss(odds: Tensor) -> Tensor:
    """Noise-contrastive estimation: a sum over sides, and over a positive and its negatives; a mean over the batch.

    Args:
        odds: log odds that a pair is real, ``(sides, batch, 1 + negatives)``; the first pair is.

    Source: Tian et al., "Contrastive Representation Distillation", ICLR 2020, arXiv 1910.10699, equation 18, where the
    odds are those of ``exp(cos / temperature) / Z`` against the noise ``negatives / examples``.
    """
    from torch.nn.functional import logsigmoid

    real, noise = logsigmoid(odds[..., :1]), logsigmoid(-odds[..., 1:])
    return -(real.sum() + noise.sum()) / odds.shape[1]


class Config(Method):
    """``label_weight CE + beta NCE`` on the last pooled states, mapped to a common space and scaled to length 1.

    An example's embedding of either side is held against the other side's memory of the transfer set, which follows the
    embeddings with ``momentum``; ``Z`` is fixed at the first batch, where it makes the mean of
    ``exp(cos / temperature) / Z`` equal to ``1 / examples``. Both are as in the authors' code, as is that the memory
    starts at random: an example's own entry means something from its second visit on. Negatives differ: there they are
    of another class, here they are any other examples, since an unlabelled one has no class.
    """

    signals: ClassVar[tuple[str, ...]] = ("pooled",)
    student_states: ClassVar[bool] = True
    relates_examples: ClassVar[bool] = True

    kind: Literal["crd"] = Field(default="crd", description="Contrast with a memory of the transfer set.")
    label_weight: float = Field(default=1.0, gt=0, description="Weight of the cross-entropy with the labels.")
    beta: float = Field(default=0.8, gt=0, description="Weight of the contrast.")
    temperature: float = Field(default=0.07, gt=0, description="Temperature, which cosines are divided by.")
    dimension: int = Field(default=128, ge=1, description="Width of the common space.")
    negatives: int = Field(default=1024, ge=1, description="Negatives of a batch, at most as many as other examples.")
    momentum: float = Field(default=0.5, ge=0, lt=1, description="What is kept of a memory when its example is seen.")

    def parts(self, sizes: Sizes) -> Module:
        """Build the maps to the common space and the memory.

        Raises:
            CodekdError: there is one example, which has no negative.
        """
        from codekd.methods._contrast import Contrast

        if sizes.examples < 2:
            raise CodekdError("crd tells examples from one another and was given one: give it more")
        return Contrast(
            widths=(sizes.student[-1], sizes.teacher["pooled"][-1]),
            dimension=self.dimension,
            examples=sizes.examples,
            negatives=min(self.negatives, sizes.examples - 1),
            temperature=self.temperature,
            momentum=self.momentum,
        )

    def loss(self, outputs: ClassifierOutput, batch: Batch, parts: Module) -> Tensor:
        """Weighted sum of both terms."""
        (*_, student), (*_, teacher) = pooled_states(outputs, batch)
        contrast = contrastive_loss(parts(student, teacher, batch.rows))
        return self.label_weight * hard_label_loss(outputs.logits, batch) + self.beta * contrast

    def step_taken(self, parts: Module) -> None:
        """Put the embeddings of the batch into the memory."""
        cast("Contrast", parts).remember()
