"""Bootstrap over test examples and seeds.

A score is uncertain because the test set is a sample and because training depends on a seed. Both are
resampled: examples once for all runs of a task and seeds once for all runs with the same seeds, so that a
difference or a ratio of two methods, taken resample by resample, is paired. Percentile intervals: Efron and
Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.

Every metric is written with sums of per-example indicators, which makes all resamples of all runs one matrix
product of how often an example was drawn, ``(resamples, examples)``, and the indicators,
``(examples, runs)``.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from codekd.errors import CodekdError

Counts = NDArray[np.float32]
Scores = NDArray[np.float64]
Classes = NDArray[np.integer]

RESAMPLES = 1000
BLOCK = 2**25  # counts held at a time: 128 MiB, whatever the size of the test set


def accuracy(counts: Counts, labels: Classes, predictions: Classes) -> Scores:
    """Share of drawn examples that are right, ``(resamples, runs)``."""
    return _sums(counts, predictions == labels) / counts.sum(axis=1, keepdims=True, dtype=np.float64)


def f1(counts: Counts, labels: Classes, predictions: Classes, positive: int = 1) -> Scores:
    """F1 of one class, ``2 tp / (2 tp + fp + fn)``, ``(resamples, runs)``; 0 where nothing is positive."""
    is_positive, is_predicted = labels == positive, predictions == positive
    hits = _sums(counts, is_positive & is_predicted)
    total = _sums(counts, is_predicted) + _sums(counts, is_positive[None, :])
    return np.divide(2 * hits, total, out=np.zeros_like(hits), where=total > 0)


def macro_f1(counts: Counts, labels: Classes, predictions: Classes) -> Scores:
    """Mean F1 over the classes that occur in a resample, ``(resamples, runs)``."""
    total = np.zeros((len(counts), len(predictions)))
    occurring = np.zeros((len(counts), 1))
    for label in np.unique(labels):
        occurs = _sums(counts, (labels == label)[None, :]) > 0
        total += np.where(occurs, f1(counts, labels, predictions, positive=label), 0.0)
        occurring += occurs
    return total / occurring


METRICS: dict[str, Callable[[Counts, Classes, Classes], Scores]] = {
    "accuracy": accuracy,
    "macro_f1": macro_f1,
    "f1": f1,
}


def resample_examples(
    metric: str, labels: Classes, predictions: Classes, resamples: int = RESAMPLES, seed: int = 0
) -> Scores:
    """Scores of all runs on the same resamples of the test set, ``(resamples, runs)``.

    ``labels`` is ``(examples,)`` and ``predictions`` ``(runs, examples)``. The draws depend on ``seed`` and
    the number of examples alone, so runs scored in different calls are paired too. Raises ``CodekdError``
    for a metric without a formula here.
    """
    if metric not in METRICS:
        raise CodekdError(f"metric {metric!r} cannot be resampled: known are {', '.join(sorted(METRICS))}")
    blocks = _drawn_counts(len(labels), resamples, seed)
    return np.concatenate([METRICS[metric](counts, labels, predictions) for counts in blocks])


def resample_seeds(scores: Scores, seeds: Sequence[int], seed: int = 0) -> Scores:
    """Mean over resampled seeds, ``(resamples,)``, of scores ``(resamples, len(seeds))``.

    One seed fewer than there are is drawn, which makes the variance of the mean unbiased (Rao and Wu,
    Resampling Inference With Complex Survey Data, 1988); drawing all n would make it (n - 1) / n of that.
    Runs with the same seeds in the same order get the same draws. A single seed is kept: its spread is
    unknown.
    """
    draws = max(len(seeds) - 1, 1)
    drawn = np.random.default_rng([seed, *seeds]).integers(len(seeds), size=(len(scores), draws))
    return np.take_along_axis(scores, drawn, axis=1).mean(axis=1)


def interval(values: Scores, level: float = 0.95) -> tuple[float, float]:
    """The percentile interval of resampled values ``(resamples,)``."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _sums(counts: Counts, indicators: NDArray[np.bool_]) -> Scores:
    # float32 holds every integer up to 2**24 exactly: more than there are test examples.
    return (counts @ indicators.T.astype(np.float32)).astype(np.float64)


def _drawn_counts(examples: int, resamples: int, seed: int) -> Iterator[Counts]:
    generator = np.random.default_rng(seed)
    step = max(1, BLOCK // examples)
    for start in range(0, resamples, step):
        counts = np.empty((min(step, resamples - start), examples), dtype=np.float32)
        for row in counts:
            row[:] = np.bincount(generator.integers(examples, size=examples), minlength=examples)
        yield counts
