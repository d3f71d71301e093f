"""Correction of p-values for multiple tests, and average ranks of methods with the Friedman and Nemenyi tests."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.multitest import multipletests

LEVEL = 0.05
FEWEST_METHODS, FEWEST_BLOCKS = 3, 2


@dataclass(frozen=True)
class Ranks:
    """Average ranks of methods over blocks, 1 the best, with the Friedman test of their being equal.

    ``p_value`` is that of the Friedman test. Two methods whose ranks differ by less than ``critical_difference`` are
    not distinguishable at the level of 5 % (Nemenyi's test; Demsar, Statistical Comparisons of Classifiers over
    Multiple Data Sets, JMLR 2006).
    """

    methods: tuple[str, ...]
    ranks: tuple[float, ...]
    blocks: int
    p_value: float
    critical_difference: float


def corrected(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number by Holm's method (1979), in the given order."""
    return multipletests(p_values, alpha=LEVEL, method="holm")[1].tolist() if p_values else []


def average_ranks(methods: Sequence[str], scores: NDArray[np.float64]) -> Ranks | None:
    """Average ranks of methods, the best score of a block ranked 1 and ties sharing their mean rank.

    Args:
        methods: names of the methods.
        scores: score of every method in every block, such as a task, ``(blocks, methods)``.

    Returns:
        The ranks; None with fewer than ``FEWEST_METHODS`` methods or ``FEWEST_BLOCKS`` blocks.
    """
    blocks, count = scores.shape
    if count < FEWEST_METHODS or blocks < FEWEST_BLOCKS:
        return None
    ranks = stats.rankdata(-scores, axis=1).mean(axis=0)
    equal = stats.friedmanchisquare(*scores.T).pvalue
    quantile = stats.studentized_range.ppf(1 - LEVEL, count, np.inf) / np.sqrt(2)
    critical = float(quantile * np.sqrt(count * (count + 1) / (6 * blocks)))
    return Ranks(tuple(methods), tuple(ranks.tolist()), blocks, float(equal), critical)
