"""Patient knowledge distillation: intermediate pooled states (Sun et al. 2019)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from codekd.errors import CodekdError
from codekd.methods import kd
from codekd.methods._states import pooled_states
from codekd.methods.base import Sizes
from codekd.models.layers import teacher_layers
from codekd.signals.base import Signal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor
    from torch.nn import Module

    from codekd.data.batches import Batch
    from codekd.models.head import ClassifierOutput


def patience_loss(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Mean squared difference of states scaled to length 1, over layers, examples and elements.

    Both arguments hold a tensor ``(batch, width)`` for each layer.

    Source: Sun et al., "Patient Knowledge Distillation for BERT Model Compression", EMNLP 2019, arXiv 1908.09355,
    equation 7, there a sum over elements.
    """
    from torch import stack
    from torch.nn.functional import mse_loss, normalize

    return stack(
        [mse_loss(normalize(s, dim=-1), normalize(t, dim=-1)) for s, t in zip(student, teacher, strict=True)]
    ).mean()


class Config(kd.Config):
    """``kd + beta mean_l MSE(W h_s / |W h_s|, h_t / |h_t|)`` over the student's layers but the last.

    A layer learns from the teacher's by uniform skip; states are pooled as the classifiers pool. Where widths differ, W
    is a learned map from the student's width to the teacher's. In arXiv 2508.15423 it maps the teacher down
    (``mapped: teacher``), which allows a trivial solution that some students find: a W h_t that is the same for every
    example.
    """

    signals: ClassVar[tuple[str, ...]] = ("logits", "pooled")
    student_states: ClassVar[bool] = True
    by_layer: ClassVar[bool] = True

    kind: Literal["pkd"] = Field(default="pkd", description="Patient knowledge distillation.")  # type: ignore[assignment]
    beta: float = Field(default=100.0, gt=0, description="Weight of the states.")
    mapped: Literal["student", "teacher"] = Field(default="student", description="Whose states W is applied to.")

    def requests(self, layers: int) -> tuple[Signal, ...]:
        """Signals ``logits`` and ``pooled``.

        Raises:
            CodekdError: the student has one layer.
        """
        if layers < 2:
            raise CodekdError("pkd matches every layer but the last: a student of one layer has none, use kd")
        return super().requests(layers)

    def parts(self, sizes: Sizes) -> Module:
        """Build the maps W, one for each layer but the last.

        Raises:
            CodekdError: the student has more layers than the teacher.
        """
        from torch.nn import Identity, Linear, ModuleList

        depth, (states, width) = len(sizes.student) - 1, sizes.teacher["pooled"]
        teacher_layers(depth, states - 1)
        maps = ModuleList()
        for own in sizes.student[1:-1]:
            before, after = (own, width) if self.mapped == "student" else (width, own)
            maps.append(Identity() if own == width else Linear(before, after, bias=False))
        return maps

    def loss(self, outputs: ClassifierOutput, batch: Batch, parts: Module) -> Tensor:
        """Loss of ``kd`` plus the weighted loss on states."""
        student, teacher = pooled_states(outputs, batch)
        layers = teacher_layers(len(student) - 1, len(teacher) - 1)[:-1]
        sides = {"student": student[1:-1], "teacher": [teacher[layer] for layer in layers]}
        maps = zip(parts.children(), sides[self.mapped], strict=True)
        sides[self.mapped] = [part(states) for part, states in maps]
        return super().loss(outputs, batch, parts) + self.beta * patience_loss(**sides)
