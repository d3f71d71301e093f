"""Variance, confidence intervals and p-values of scores, differences and ratios. See docs/statistics.md.

There are two sources of variation, and each is counted once: the packages that test examples come from, and the luck of
training, for which a seed stands. With ``G`` groups of examples and ``n`` seeds a number's variance is

    V = V_groups + max(0, V_seeds - V_both),

the variance over groups of the mean over seeds, plus that over seeds of the mean over groups, less the part that both
contain: the interaction of seeds and groups. These are the components of the crossed design of several readers who
read the same cases (Dorfman, Berbaum & Metz 1992). The variance over groups is the jackknife that leaves out one at a
time (CV3: MacKinnon, Nielsen & Webb 2023). Intervals and p-values are those of Student's t with Satterthwaite's degrees
of freedom (1946).

Shapes: ``runs`` are those of a task, ``examples`` those of its test split, ``units`` what of these is sampled, and
``seeds`` those of one number. A score's change is the score without a unit minus the score.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from codekd.analysis.jackknife import Classes, Floats, Partition, metric_of
from codekd.errors import CodekdError

FEWEST_GROUPS, LARGEST_SHARE = 8, 1 / 3
"""Fewest groups that are sampled as units, and the largest share of the examples that one of them may have.

Otherwise examples or functions are sampled, and numbers are about these groups alone.
"""

ROUNDING = 1e-12
"""Share of the scores' own variances up to which a variance is rounding error, and counts as 0."""

BLOCK = 2**24
"""Largest count of numbers in memory at a time: 128 MiB."""

Unit = Literal["group", "example", "function"]


@dataclass(frozen=True)
class Units:
    """Units of a test split that are sampled independently: groups such as packages, single examples, or functions.

    Attributes:
        kind: kind of the units.
        members: the number of every example's unit, ``(examples,)``; for functions two arrays, one a side of the pairs.
        count: number of units.
    """

    kind: Unit
    members: tuple[NDArray[np.int64], ...]
    count: int

    @classmethod
    def of(cls, groups: NDArray[Any], sides: NDArray[Any] | None = None) -> "Units":
        """The units: groups if they are enough and none outweighs the others, else examples, or for pairs functions.

        Examples that each are a group of their own count as ungrouped; pairs may share functions all the same.

        Args:
            groups: the group of every example, ``(examples,)``.
            sides: both functions of every pair, ``(examples, 2)``; None where examples are no pairs.
        """
        names, members, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        grouped = FEWEST_GROUPS <= len(names) < len(members)
        if grouped and sizes.max() <= LARGEST_SHARE * len(members):
            return cls("group", (members,), len(names))
        if sides is None:
            return cls("example", (np.arange(len(members)),), len(members))
        functions, places = np.unique(sides, return_inverse=True)
        return cls("function", tuple(places.reshape(sides.shape).T), len(functions))

    @property
    def partition(self) -> Partition:
        """Partition of which a part is left out at a time: a unit, or where functions are the units, a single pair."""
        if self.kind == "function":
            count = len(self.members[0])
            return Partition(np.arange(count), count)
        return Partition(self.members[0], self.count)


@dataclass(frozen=True)
class Sample:
    """Scores of a task's runs on one test split, and how they vary together over other test splits.

    Attributes:
        scores: ``(runs,)``.
        covariance: covariance of the scores over test splits of other units, ``(runs, runs)``.
        freedom: degrees of freedom of the covariance.
    """

    scores: Floats
    covariance: Floats
    freedom: int

    def estimate(self, runs: Sequence[int]) -> "Estimate":
        """Estimate of the score of some runs, given by number, that differ in their seed alone."""
        weights = np.zeros((len(runs), len(self.scores)))
        weights[np.arange(len(runs)), runs] = 1
        return Estimate(self, self.scores[list(runs)], weights)


def sample(metric: str, labels: Classes, predictions: Classes, units: Units) -> Sample:
    """Score runs, and estimate the covariance of their scores over test splits.

    Args:
        metric: name of the metric.
        labels: class numbers, ``(examples,)``.
        predictions: class numbers, ``(runs, examples)``.
        units: the units of the test split.

    Raises:
        CodekdError: the metric has no formula.
    """
    formula, partition = metric_of(metric), units.partition
    step = max(1, BLOCK // max(1, len(labels)))
    scores, changes = [], []
    for start in range(0, len(predictions), step):
        score, change = formula(labels, predictions[start : start + step], partition)
        scores.append(score)
        changes.append(change.astype(np.float32 if units.kind != "group" else float))  # examples may be many
    return Sample(np.concatenate(scores), _covariance(np.concatenate(changes), units), units.count - 1)


def _covariance(changes: NDArray[np.floating], units: Units) -> Floats:
    """Covariance of scores, ``(runs, runs)``, from their changes ``(runs, parts)`` without each part of a partition."""
    left = changes.shape[1]
    if units.kind != "function":
        return (left - 1) / left * _products(changes)
    # Pairs vary together where they share a function (Aronow, Samii & Assenova 2015). Sums over functions count pairs
    # that share both of them twice, so that one count is subtracted.
    first, second = units.members
    two = np.flatnonzero(first != second)
    codes = np.minimum(first, second)[two] * units.count + np.maximum(first, second)[two]
    names, twice = np.unique(codes, return_inverse=True)
    changes_of_two = changes[:, two]
    of_functions = Partition(first, units.count).sums(changes)
    of_functions += Partition(second[two], units.count).sums(changes_of_two)
    return _positive(_products(of_functions) - _products(Partition(twice, len(names)).sums(changes_of_two)))


def _products(values: NDArray[np.floating]) -> Floats:
    """``values @ values.T`` in double precision, ``(runs, runs)``, a block at a time."""
    step = max(1, BLOCK // max(1, len(values)))
    found = np.zeros((len(values), len(values)))
    for start in range(0, values.shape[1], step):
        part = values[:, start : start + step].astype(float)
        found += part @ part.T
    return found


def _positive(matrix: Floats) -> Floats:
    """Nearest positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.maximum(values, 0)) @ vectors.T


@dataclass(frozen=True)
class Estimate:
    """A number with a value for every seed, such as a score or a difference of scores, and its uncertainty.

    A number with a single value, such as the score of the one teacher, holds for every seed.

    Attributes:
        sample: the scores that the number follows from.
        values: ``(seeds,)``.
        weights: derivatives of the values by the runs' scores, ``(seeds, runs)``.
    """

    sample: Sample
    values: Floats
    weights: Floats

    def __sub__(self, other: "Estimate") -> "Estimate":
        """The difference, seed by seed."""
        _check_seeds(self, other)
        return Estimate(self.sample, self.values - other.values, self.weights - other.weights)

    def __truediv__(self, other: "Estimate | float") -> "Estimate":
        """The ratio, seed by seed."""
        if not isinstance(other, Estimate):
            return Estimate(self.sample, self.values / other, self.weights / other)
        _check_seeds(self, other)
        ratio, below = self.values / other.values, other.values[:, None]
        return Estimate(self.sample, ratio, self.weights / below - ratio[:, None] * other.weights / below)

    @property
    def value(self) -> float:
        """Mean over seeds."""
        return float(self.values.mean())

    @property
    def seeds(self) -> int:
        """Number of seeds."""
        return len(self.values)

    def _over_groups(self, weights: Floats) -> float:
        """Variance over groups of a sum of scores with weights ``(runs,)``; 0 where it is rounding error."""
        variance = float(weights @ self.sample.covariance @ weights)
        return variance if variance > ROUNDING * float(weights**2 @ np.diag(self.sample.covariance)) else 0.0

    @cached_property
    def _error(self) -> tuple[float, float]:
        """Standard error and degrees of freedom."""
        n, freedom, mean = self.seeds, self.sample.freedom, self.weights.mean(axis=0)
        if freedom == 0:
            return 0.0, 1
        groups = self._over_groups(mean)
        if n == 1:
            return groups**0.5, freedom
        seeds = float(self.values.var(ddof=1)) / n
        both = sum(self._over_groups(one - mean) for one in self.weights) / (n - 1) / n
        total = groups + max(0.0, seeds - both)
        if total == 0:
            return 0.0, freedom
        # Degrees of freedom take V_seeds before V_both is subtracted: that makes the estimate no more certain.
        known = total**2 / (groups**2 / freedom + seeds**2 / (n - 1))
        return total**0.5, max(known, min(n - 1, freedom))

    def interval(self, level: float = 0.95) -> tuple[float, float] | None:
        """Both ends of the confidence interval of ``level``; with one seed it is about this one model.

        None where nothing varies, as with a perfect score or with equal predictions: that is not certainty.
        """
        error, freedom = self._error
        if error == 0:
            return None
        reach = float(stats.t.ppf((1 + level) / 2, freedom)) * error
        return self.value - reach, self.value + reach

    def p_value(self) -> float | None:
        """Two-sided p-value of the number's being zero.

        1 where nothing varies; None with one seed, whose luck is unknown.
        """
        error, freedom = self._error
        if self.seeds == 1:
            return None
        if error == 0:
            return 1.0
        return float(2 * stats.t.sf(abs(self.value) / error, freedom))


def mean(estimates: Sequence[Estimate]) -> Estimate:
    """Mean of some estimates, seed by seed.

    Raises:
        CodekdError: the estimates have different numbers of seeds.
    """
    first = estimates[0]
    for one in estimates:
        _check_seeds(first, one, alike=True)
    values = np.mean([one.values for one in estimates], axis=0)
    return Estimate(first.sample, values, np.mean([one.weights for one in estimates], axis=0))


def _check_seeds(first: Estimate, second: Estimate, alike: bool = False) -> None:
    """Refuse estimates of different numbers of seeds; a single value fits any number, unless all must be ``alike``."""
    if first.seeds != second.seeds and (alike or 1 not in (first.seeds, second.seeds)):
        raise CodekdError(f"runs with {first.seeds} and {second.seeds} seeds cannot be compared seed by seed")
