"""Distillation of the structure of code: relations between the nodes of its syntax tree (a method of this project)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from codekd.methods import kd
from codekd.methods._states import mean_squared
from codekd.signals import logits, structure
from codekd.signals.base import Signal

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor
    from torch.nn import Module

    from codekd.data.batches import Batch
    from codekd.models.head import ClassifierOutput


class Config(kd.Config):
    """``kd + beta (PC + SB + AN)``: parent and child, siblings, and the angle that siblings form at their parent.

    A node's state is the mean of its span's token states, so that an inner node stands for an expression, a statement
    or a block. In every kept layer PC compares the cosine distance of each node to its parent, SB that to its next
    sibling, AN the cosine of the angle between the two at the parent; each is the mean squared difference over the
    edges that both models' windows show.

    Contextual distillation (``ckd``) relates a unit to all others within a window, wherever statements and calls begin
    and end. The tree says which of these belong together: a call and its arguments, a condition and its branch, however
    far apart; and it has one edge or two a node where a window has twenty.
    """

    signals: ClassVar[tuple[str, ...]] = ("logits", "structure")
    student_states: ClassVar[bool] = True
    by_layer: ClassVar[bool] = True

    kind: Literal["ast"] = Field(default="ast", description="Relations between nodes of the syntax tree.")  # type: ignore[assignment]
    beta: float = Field(default=1.0, gt=0, description="Weight of the relations.")

    def requests(self, layers: int) -> tuple[Signal, ...]:
        """Signals ``logits``, and ``structure`` in as many layers as the student has."""
        return logits.Config(), structure.Config(layers=layers)

    def loss(self, outputs: ClassifierOutput, batch: Batch, parts: Module) -> Tensor:
        """Loss of ``kd`` plus the weighted terms on the structure."""
        structure = zip(self.structure_losses(outputs, batch), self._counts(outputs), strict=True)
        relations = sum(loss * batch.share(count) for loss, count in structure)
        return super().loss(outputs, batch, parts) + self.beta * relations

    def structure_losses(self, outputs: ClassifierOutput, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Terms PC, SB and AN of a batch, three scalars."""
        from codekd.signals.edges import PARENT, SIBLING, edge_relations

        assert outputs.hidden_states is not None
        assert batch.units is not None
        hidden = outputs.hidden_states[1:]
        cosine, angles = edge_relations(hidden, batch.units)
        teacher_cosine, teacher_angles = _taught(batch, len(hidden))
        return (
            _difference(cosine[:, :, PARENT], teacher_cosine[:, :, PARENT]),
            _difference(cosine[:, :, SIBLING], teacher_cosine[:, :, SIBLING]),
            _difference(angles, teacher_angles),
        )

    def _counts(self, outputs: ClassifierOutput) -> tuple[Callable[[Batch], Tensor], ...]:
        """Functions that count in a batch what each of the ``structure_losses`` is a mean over."""
        from codekd.signals.edges import PARENT, SIBLING, edges_with_angles

        assert outputs.hidden_states is not None
        layers = len(outputs.hidden_states) - 1

        def edges(kind: int) -> Callable[[Batch], Tensor]:
            def count(batch: Batch) -> Tensor:
                assert batch.units is not None
                there, _ = edges_with_angles(batch.units)
                return (there[:, None, kind] & _taught(batch, layers)[0][:, :, kind].isfinite()).sum()

            return count

        def angles(batch: Batch) -> Tensor:
            assert batch.units is not None
            _, there = edges_with_angles(batch.units)
            return (there.unsqueeze(1) & _taught(batch, layers)[1].isfinite()).sum()

        return edges(PARENT), edges(SIBLING), angles


def _taught(batch: Batch, layers: int) -> tuple[Tensor, Tensor]:
    """Cosine distances and angles of the teacher, as ``edge_relations`` gives those of the student."""
    return structure.Config(layers=layers).split(batch.teacher["structure"])


def _difference(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference where both are finite."""
    both = student.isfinite() & teacher.isfinite()
    return mean_squared(student.masked_fill(~both, 0), teacher.masked_fill(~both, 0), both)
