"""Base of all methods: a loss, the signals that it needs of the teacher, and layers of its own where it has some.

Letters in formulas:
    s, t: student and teacher.
    z, y: logits ``(batch, classes)`` and labels ``(batch,)``.
    p: probabilities ``softmax(z / T)`` with temperature T.
    h: a layer's pooled states ``(batch, width)``.
    CE, KL, MSE: cross-entropy with labels, Kullback-Leibler divergence, mean squared error.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field

from codekd.data.labels import UNLABELLED
from codekd.signals.base import Signal, parse
from codekd.study.base import Model

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from codekd.data.batches import Batch
    from codekd.models.head import ClassifierOutput


@dataclass(frozen=True)
class Sizes:
    """Sizes that the layers of a method depend on.

    Attributes:
        student: widths of the student's pooled states, of the embedding output and every layer.
        teacher: shape of a row of each signal, by kind.
        examples: number of examples in the transfer set.
    """

    student: tuple[int, ...]
    teacher: Mapping[str, tuple[int, ...]]
    examples: int


class Method(Model):
    """Settings of a method, and its loss."""

    signals: ClassVar[tuple[str, ...]] = ()
    """Kinds of the teacher's signals that the loss reads, e.g. ``("logits",)``."""

    student_states: ClassVar[bool] = False
    """Whether the loss reads the student's states and not its logits alone."""

    reuses_head: ClassVar[bool] = False
    """Whether the student has the teacher's classification head, frozen, behind a projection."""

    by_layer: ClassVar[bool] = False
    """Whether each of the student's layers learns from one of the teacher's, which must have at least as many."""

    relates_examples: ClassVar[bool] = False
    """Whether the loss depends on which examples share a batch, so that cutting a batch into parts changes it."""

    repeats_labelled: ClassVar[bool] = False
    """Whether labelled examples are repeated within an epoch until they are as many as the whole transfer set."""

    shuffles_logits: ClassVar[bool] = False
    """Whether each example has the teacher's logits of another example of the same predicted class."""

    control: ClassVar[bool] = False
    """Whether the method is a control, which others are compared with, and does not count as a way to distil."""

    kind: str = Field(description="Module in codekd.methods.")
    transfer: Literal["labelled", "all"] = Field(
        default="all",
        description="Which part of the transfer set it trains on: labelled examples only, or all, "
        "the unlabelled ones taught by the teacher alone.",
    )

    def for_classes(self, classes: int) -> Self:
        """Return the method as it applies to a task with so many classes.

        Where a term is void there, this is a copy without it; see the method for the reason.

        Raises:
            CodekdError: nothing of the method remains.
        """
        return self

    def requests(self, layers: int) -> tuple[Signal, ...]:
        """Signals that the loss reads, with their settings, for a student of so many layers."""
        return tuple(parse({"kind": kind}) for kind in self.signals)

    def parts(self, sizes: Sizes) -> Module:
        """Build layers that are trained with the student and then thrown away, such as projections; none by default.

        Raises:
            CodekdError: the student and the teacher do not go together.
        """
        from torch.nn import Module

        return Module()

    @abstractmethod
    def loss(self, outputs: ClassifierOutput, batch: Batch, parts: Module) -> Tensor:
        """Loss of one batch, the scalar to minimise.

        A mean over anything but the examples is multiplied by its :meth:`~codekd.data.batches.Batch.share`.

        Args:
            outputs: those of the student, with logits ``(batch, classes)``.
            batch: ``labels`` are ``(batch,)`` int64, -1 where there is none; ``teacher`` maps each name in ``signals``
                to the rows of this batch.
            parts: layers of the method, from :meth:`parts`.
        """

    def step_taken(self, parts: Module) -> None:
        """Update what is remembered beyond a batch; called after each step.

        The loss must not do it: it may be computed in parts, and again where memory ran out.
        """


def given_labels(batch: Batch) -> Tensor:
    """Labels of a batch's examples, ``(batch,)`` int64, -1 where there is none."""
    return batch.labels


def hard_label_loss(
    logits: Tensor, batch: Batch, labels: Callable[[Batch], Tensor] = given_labels, smoothing: float = 0.0
) -> Tensor:
    """Mean cross-entropy over the labelled examples; 0, with a gradient of zero, if there are none.

    It is weighted by the labels' classes: ``sum w_y CE / sum w_y``, over the whole batch where this one is a part.

    Args:
        logits: ``(batch, classes)``.
        batch: has the weights of the classes.
        labels: gives the labels ``(batch,)`` of a batch, -1 where there is none.
        smoothing: e in the targets ``(1 - e) onehot(y) + e / classes``; each class's term has the weight of that class.
    """
    from torch.nn.functional import cross_entropy

    def weight(one: Batch) -> Tensor:
        found = labels(one)
        known = found != UNLABELLED
        return known.sum() if one.class_weights is None else one.class_weights[found[known]].sum()

    logits, weights, here = at_least_float32(logits), batch.class_weights, weight(batch)
    weights = None if weights is None else weights.to(logits.dtype)
    total = cross_entropy(
        logits, labels(batch), weights, ignore_index=UNLABELLED, reduction="sum", label_smoothing=smoothing
    )
    return total / here.where(here > 0, 1) * batch.share(weight)


def at_least_float32(values: Tensor) -> Tensor:
    """Widen half precision to float32, in which losses are computed, also under autocast."""
    return values.float() if values.element_size() < 4 else values
