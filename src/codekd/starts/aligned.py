"""Alignment of text embeddings: the student's mean state follows a teacher's (LEAF, arXiv 2509.12539).

A contrast to the other windows of the batch is added (InfoNCE, van den Oord et al. 2018, arXiv 1807.03748). To follow
the mean of teachers that were fine-tuned on several tasks is the idea of ERNIE 3.0 Tiny (arXiv 2301.03416).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from codekd.signals.base import Signal, parse
from codekd.starts.base import TrainedStart

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from codekd.data.batches import Batch
    from codekd.models.head import ClassifierOutput


class Config(TrainedStart):
    """``masked MLM + cosine (1 - cos(P s, t)) + contrast InfoNCE(P s, t)``.

    ``s`` is the mean of the student's last states over the real tokens of a window, ``P`` a linear map that is thrown
    away, ``t`` the teacher's mean state of the same characters.
    """

    measure: ClassVar[str] = "cosine"
    relates_examples: ClassVar[bool] = True

    kind: Literal["aligned"] = "aligned"
    teacher: str = Field(
        description="Name of the teacher whose encoder is followed, adapted where it has `adaptation`."
    )
    tasks: tuple[str, ...] = Field(
        (),
        description="Follow the mean of the states of this teacher fine-tuned on these tasks; none takes its encoder "
        "before any task.",
    )
    masked: float = Field(1.0, ge=0, description="Weight of masked language modelling.")
    cosine: float = Field(1.0, ge=0, description="Weight of the cosine distance.")
    contrast: float = Field(1.0, ge=0, description="Weight of the contrast with the other windows of a batch.")
    temperature: float = Field(0.05, gt=0, description="Of the contrast.")

    @model_validator(mode="after")
    def _aligns(self) -> Self:
        if not (self.cosine or self.contrast):
            raise ValueError("`cosine` and `contrast` cannot both be 0: write `kind: masked`")
        return self

    @property
    def masking(self) -> float:
        """Weight of masked language modelling."""
        return self.masked

    @property
    def teachers(self) -> tuple[str, ...]:
        """Name of the teacher that is followed."""
        return (self.teacher,)

    @property
    def taught_on(self) -> tuple[str, ...]:
        """Tasks on which the teacher was fine-tuned, if any."""
        return self.tasks

    def requests(self, layers: int) -> tuple[Signal, ...]:
        """Signal ``last``, the mean of the teacher's last states."""
        return (parse({"kind": "last"}),)

    def parts(self, width: int, teacher: Mapping[str, tuple[int, ...]]) -> Module:
        """Build the map from the student's to the teacher's width."""
        from torch.nn import Linear

        (target,) = teacher["last"]
        return Linear(width, target)

    def loss(self, output: ClassifierOutput, batch: Batch, parts: Module) -> Tensor:
        """Weighted sum of the cosine distance and the contrast."""
        student, teacher = self._states(output, batch, parts)
        loss = self.cosine * cosine_distance(student, teacher)
        return loss + self.contrast * contrast(student, teacher, self.temperature) if self.contrast else loss

    def likeness(self, output: ClassifierOutput, batch: Batch, parts: Module) -> Tensor:
        """Cosine of the student's and the teacher's mean state of each window, ``(batch,)``."""
        from torch.nn.functional import cosine_similarity

        return cosine_similarity(*self._states(output, batch, parts))

    def _states(self, output: ClassifierOutput, batch: Batch, parts: Module) -> tuple[Tensor, Tensor]:
        """Mean states of student, mapped, and teacher, both ``(batch, width)``."""
        from codekd.models.pooling import pool

        assert output.hidden_states is not None
        states = output.hidden_states[-1]
        mean = pool(states.to(batch.teacher["last"].float().dtype), batch.input_ids, batch.attention_mask, "mean")
        return parts(mean), batch.teacher["last"].float()


def cosine_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean of ``1 - cos(s_i, t_i)`` over the rows of two matrices ``(batch, width)``."""
    from torch.nn.functional import cosine_similarity

    return 1 - cosine_similarity(student, teacher).mean()


def contrast(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Mean of ``-log softmax_j(cos(s_i, t_j) / temperature)[i]`` over the rows of two matrices ``(batch, width)``."""
    from codekd.methods.contrast import info_nce

    return info_nce(student, teacher, temperature).mean()
