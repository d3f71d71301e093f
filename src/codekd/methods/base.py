"""What every method is: a loss, the signals that it needs of the teacher, and layers of its own where it has some."""

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
    """What the layers of a method are shaped by.

    ``student`` holds the widths of the student's pooled states, of the embedding output and every layer; ``teacher``
    maps each signal to the shape of its rows; ``examples`` counts the transfer set.
    """

    student: tuple[int, ...]
    teacher: Mapping[str, tuple[int, ...]]
    examples: int


class Method(Model):
    """A method's settings and its loss."""

    signals: ClassVar[tuple[str, ...]] = ()
    """What the loss reads of the teacher, e.g. ``("logits",)``."""

    student_states: ClassVar[bool] = False
    """Whether the loss reads the student's states and not its logits alone."""

    reuses_head: ClassVar[bool] = False
    """Whether the student has the teacher's classification head, frozen, behind a projection."""

    by_layer: ClassVar[bool] = False
    """Whether each of the student's layers learns from one of the teacher's, of which there must be as many."""

    relates_examples: ClassVar[bool] = False
    """Whether the loss depends on which examples are in a batch together: of a part it then is another one."""

    repeats_labelled: ClassVar[bool] = False
    """Whether labelled examples are repeated within an epoch until they are as many as the whole transfer set."""

    shuffles_logits: ClassVar[bool] = False
    """Whether each example has the teacher's logits of another one that the teacher puts into the same class."""

    control: ClassVar[bool] = False
    """Whether it is there to be compared with, and does not count as a way to distil."""

    kind: str = Field(description="Module in codekd.methods.")
    transfer: Literal["labelled", "all"] = Field(
        default="all",
        description="Which part of the transfer set it trains on: labelled examples only, or all, "
        "the unlabelled ones taught by the teacher alone.",
    )

    def for_classes(self, classes: int) -> Self:
        """The method as it applies to a task with so many classes.

        A copy without it where a term is void there; see the method for the reason.

        Raises:
            CodekdError: with the reason, if nothing of the method remains.
        """
        return self

    def requests(self, layers: int) -> tuple[Signal, ...]:
        """The signals with their settings, for a student of so many layers."""
        return tuple(parse({"kind": kind}) for kind in self.signals)

    def parts(self, sizes: Sizes) -> Module:
        """Layers that are trained with the student and thrown away after it, such as projections; none by default.

        Raises:
            CodekdError: the student and the teacher do not go together.
        """
        from torch.nn import Module

        return Module()

    @abstractmethod
    def loss(self, outputs: ClassifierOutput, batch: Batch, parts: Module) -> Tensor:
        """The scalar to minimise on one batch.

        ``outputs`` are the student's, with logits ``(batch, classes)``; ``batch.labels`` are ``(batch,)`` int64, -1
        where there is none; ``batch.teacher`` maps each name in ``signals`` to the rows of this batch. A mean over
        anything but the examples is multiplied by its :meth:`~codekd.data.batches.Batch.share`.
        """

    def step_taken(self, parts: Module) -> None:
        """Called after each step: here, and not in the loss, changes what is remembered beyond a batch.

        The loss may be computed in parts, and again where memory ran out.
        """


def given_labels(batch: Batch) -> Tensor:
    """The labels that the examples have, ``(batch,)``."""
    return batch.labels


def hard_label_loss(
    logits: Tensor, batch: Batch, labels: Callable[[Batch], Tensor] = given_labels, smoothing: float = 0.0
) -> Tensor:
    """Mean cross-entropy of ``logits`` ``(batch, classes)`` over the examples whose label is not -1.

    Weighted by the labels' classes: ``sum w_y CE / sum w_y``, over the whole batch where this one is a part. Zero, with
    a gradient of zero, if there is no label. With ``smoothing`` e the targets are ``(1 - e) onehot(y) + e / classes``,
    and each class's term has the weight of that class.
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
    """Half precision widened: a loss is computed in float32, also under autocast."""
    return values.float() if values.element_size() < 4 else values
