"""Metrics of a test split, and their changes when one unit of it, such as a package, is left out.

Every metric is a function of counts, so that its value without a unit follows exactly from that unit's own counts.

Shapes: ``labels`` ``(examples,)`` and ``predictions`` ``(runs, examples)`` are class numbers, scores are ``(runs,)``,
and changes, the score without a unit minus the score, ``(runs, units)``. A metric returns scores and changes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codekd.errors import CodekdError

Floats = NDArray[np.float64]
Classes = NDArray[np.integer]
Scored = tuple[Floats, Floats]


@dataclass(frozen=True)
class Partition:
    """Assignment of examples to units: ``members`` ``(examples,)`` holds unit numbers from 0 to ``count - 1``."""

    members: NDArray[np.int64]
    count: int

    def sums(self, values: NDArray[Any]) -> Floats:
        """Sums of ``values`` ``(runs, examples)`` over the examples of each unit, ``(runs, units)``."""
        if self.count == len(self.members) and np.array_equal(self.members, np.arange(self.count)):
            return values.astype(float)
        return np.stack([np.bincount(self.members, weights=row, minlength=self.count) for row in values])


def accuracy(labels: Classes, predictions: Classes, units: Partition) -> Scored:
    """Share of the examples that are classified rightly, and its changes."""
    right, size = units.sums(predictions == labels), units.sums(np.ones((1, len(labels))))
    score = right.sum(axis=1) / len(labels)
    return score, _ratio(score[:, None] * len(labels) - right, len(labels) - size) - score[:, None]


def f1(labels: Classes, predictions: Classes, units: Partition) -> Scored:
    """F1 of the second of two classes, and its changes; 0 where nothing is positive."""
    score, without, _ = _f1_of(1, labels, predictions, units)
    return score, without - score[:, None]


def macro_f1(labels: Classes, predictions: Classes, units: Partition) -> Scored:
    """Mean F1 over the classes that occur in ``labels``, and its changes."""
    found = [_f1_of(int(label), labels, predictions, units) for label in np.unique(labels)]
    scores, without, occurs = (np.array(parts) for parts in zip(*found, strict=True))
    # A class that only one package has does not occur without it.
    left = _ratio((without * occurs).sum(axis=0), occurs.sum(axis=0).astype(float))
    score = scores.mean(axis=0)
    return score, left - score[:, None]


def f1_of_class(label: int, labels: Classes, predictions: Classes) -> Floats:
    """F1 of one class in every run, ``2 tp / (2 tp + fp + fn)``, ``(runs,)``; 0 where nothing is positive."""
    return _f1_of(label, labels, predictions, Partition(np.zeros(len(labels), dtype=np.int64), 1))[0]


def _f1_of(label: int, labels: Classes, predictions: Classes, units: Partition) -> tuple[Floats, Floats, NDArray]:
    """F1 of a class, its F1 without each unit, and whether the class occurs without that unit, ``(1, units)``."""
    is_positive, is_predicted = (labels == label)[None, :], predictions == label
    hits, predicted = units.sums(is_positive & is_predicted), units.sums(is_predicted)
    positive = units.sums(is_positive)
    counted = predicted + positive
    hits_in_all, counted_in_all = hits.sum(axis=1, keepdims=True), counted.sum(axis=1, keepdims=True)
    without = _ratio(2 * (hits_in_all - hits), counted_in_all - counted)
    return _ratio(2 * hits_in_all, counted_in_all)[:, 0], without, positive.sum() - positive > 0


def _ratio(above: Floats, below: Floats) -> Floats:
    """Quotients, 0 where the divisor is 0."""
    above, below = np.broadcast_arrays(above, below)
    return np.divide(above, below, out=np.zeros(above.shape), where=below > 0)


METRICS: dict[str, Callable[[Classes, Classes, Partition], Scored]] = {
    "accuracy": accuracy,
    "f1": f1,
    "macro_f1": macro_f1,
}


def metric_of(name: str) -> Callable[[Classes, Classes, Partition], Scored]:
    """The function that computes a metric, by the metric's name.

    Raises:
        CodekdError: the metric is not in :data:`METRICS`.
    """
    if name not in METRICS:
        raise CodekdError(f"metric {name!r} has no intervals: known are {', '.join(sorted(METRICS))}")
    return METRICS[name]
