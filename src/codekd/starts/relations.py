"""Relations between lexemes, taught by a pretrained teacher (after MiniLMv2, Wang et al. 2021, arXiv 2012.15828).

MiniLMv2 compares products of queries, keys and values of one layer; here it is what the cache holds and ``ckd``
compares on a task: distances and angles between lexemes, which do not depend on a tokenizer or on a number of heads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from codekd.starts.base import TrainedStart

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from codekd.data.batches import Batch
    from codekd.models.head import ClassifierOutput
    from codekd.signals.base import Signal


class Config(TrainedStart):
    """``masked MLM + beta WR + gamma LTR``, with the relations of ``ckd``."""

    by_layer: ClassVar[bool] = True

    kind: Literal["relations"] = "relations"
    teacher: str = Field(
        description="Name of the teacher whose encoder is followed, adapted where it has `adaptation`."
    )
    window: int = Field(10, ge=1, le=64, description="Lexemes on each side of a centre.")
    masked: float = Field(1.0, gt=0, description="Weight of masked language modelling.")
    beta: float = Field(1.0, ge=0, description="Weight of the relations between lexemes.")
    gamma: float = Field(1.0, ge=0, description="Weight of the relations across layers.")

    @property
    def teachers(self) -> tuple[str, ...]:
        """Name of the teacher whose encoder is followed."""
        return (self.teacher,)

    @property
    def masking(self) -> float:
        """Weight of masked language modelling.

        The accuracy of guessing chooses the best epoch, because relations are captured of windows for training alone.
        """
        return self.masked

    @property
    def _method(self) -> Any:
        from codekd.methods import ckd

        return ckd.Config(window=self.window, beta=self.beta, gamma=self.gamma)

    def requests(self, layers: int) -> tuple[Signal, ...]:
        """Relations in as many layers as the student has."""
        return tuple(one for one in self._method.requests(layers) if one.kind == "relations")

    def loss(self, output: ClassifierOutput, batch: Batch, parts: Module) -> Tensor:
        """Weighted terms on relations of the loss of ``ckd``."""
        loss: Tensor = self._method.relational_loss(output, batch)
        return loss
