"""Metrics with the influence of every test example on them.

The influence of example i on a score is its share of the first-order change when the weight of i changes: a score of a
reweighted sample is ``score + sum_i influence_i * weight_i`` to first order, and the influences of a sample sum to
zero (Efron 1982, The Jackknife, the Bootstrap and Other Resampling Plans, chapter 6: the infinitesimal jackknife). The
variance of any smooth function of scores follows from them.

Shapes: ``labels`` ``(examples,)``, ``predictions`` ``(runs, examples)``, scores ``(runs,)``, influences
``(runs, examples)``.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from codekd.errors import CodekdError

Floats = NDArray[np.float64]
Classes = NDArray[np.integer]
Metric = Callable[[Classes, Classes], tuple[Floats, Floats]]


def accuracy(labels: Classes, predictions: Classes) -> tuple[Floats, Floats]:
    """Share of the examples that are right, and influences."""
    right = (predictions == labels).astype(float)
    score = right.mean(axis=1)
    return score, (right - score[:, None]) / len(labels)


def f1(labels: Classes, predictions: Classes, positive: int = 1) -> tuple[Floats, Floats]:
    """F1 of one class, ``2 tp / (2 tp + fp + fn)``, and influences; 0 where nothing is positive."""
    is_positive, is_predicted = labels == positive, predictions == positive
    hits = (is_positive & is_predicted).astype(float)
    counted = is_predicted + is_positive.astype(float)
    total = counted.sum(axis=1)
    safe = np.where(total > 0, total, 1.0)
    score = 2 * hits.sum(axis=1) / safe
    return score, (2 * hits - score[:, None] * counted) / safe[:, None]


def macro_f1(labels: Classes, predictions: Classes) -> tuple[Floats, Floats]:
    """Mean F1 over the classes that occur in ``labels``, and influences."""
    scores, influences = zip(*(f1(labels, predictions, int(label)) for label in np.unique(labels)), strict=True)
    return np.mean(scores, axis=0), np.mean(influences, axis=0)


METRICS: dict[str, Metric] = {"accuracy": accuracy, "f1": f1, "macro_f1": macro_f1}


def metric_of(name: str) -> Metric:
    """A metric by its name.

    Raises:
        CodekdError: it has no formula here.
    """
    if name not in METRICS:
        raise CodekdError(f"metric {name!r} has no intervals: known are {', '.join(sorted(METRICS))}")
    return METRICS[name]
