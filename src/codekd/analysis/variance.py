"""How uncertain a score, a difference or a ratio is: each source of variation counted once. See docs/statistics.md.

Two things vary: which packages the test examples come from, and the luck of training, which a seed stands for. With
``G`` groups of examples and ``n`` seeds a number's variance is

    V = V_groups + max(0, V_seeds - V_both),

the variance over groups of the mean over seeds, that over seeds of the mean over groups, less the part that both of
them hold: the interaction of seeds and groups (two-way clustering: Cameron, Gelbach & Miller 2011, equation 2.11).
Over groups it is the jackknife that leaves out a group at a time, to first order (CV3: MacKinnon, Nielsen & Webb 2023).
Intervals and p-values are those of Student's t with Satterthwaite's degrees of freedom (1946).

Shapes: R runs of a task, U units of its test split, n seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from codekd.analysis.influence import Classes, Floats, metric_of

FEWEST_GROUPS = 8
"""Groups from which on they are what is sampled; with fewer, numbers are about these groups alone."""

BLOCK = 2**24
"""Influences held at a time: 128 MiB."""

Unit = Literal["group", "example", "function"]


@dataclass(frozen=True)
class Units:
    """What is sampled independently in a test split.

    ``members`` are the numbers of the units that an example belongs to, ``(examples,)`` each: one unit, or for pairs
    of functions, two.
    """

    kind: Unit
    members: tuple[NDArray[np.int64], ...]
    count: int

    @classmethod
    def of(cls, groups: NDArray[Any], sides: NDArray[Any] | None = None) -> "Units":
        """Groups where there are at least :data:`FEWEST_GROUPS`, otherwise the examples or, of pairs, the functions.

        ``groups`` ``(examples,)`` name that of every example, ``sides`` ``(examples, 2)`` the two functions of every
        pair. Pairs that each are a group of their own share functions all the same.
        """
        names, members = np.unique(groups, return_inverse=True)
        if len(names) >= FEWEST_GROUPS and (sides is None or len(names) < len(members)):
            return cls("group", (members,), len(names))
        if sides is None:
            return cls("example", (np.arange(len(members)),), len(members))
        functions, places = np.unique(sides, return_inverse=True)
        return cls("function", tuple(places.reshape(sides.shape).T), len(functions))


@dataclass(frozen=True)
class Sample:
    """The runs of a task on one test split.

    ``scores`` are ``(runs,)``, ``covariance`` ``(runs, runs)`` is theirs over test splits of other units, with
    ``freedom`` degrees of freedom; what ``kind`` these units are is said in reports.
    """

    scores: Floats
    covariance: Floats
    freedom: int
    kind: Unit

    def estimate(self, runs: Sequence[int]) -> "Estimate":
        """The score of some runs that differ in their seed alone."""
        weights = np.zeros((len(runs), len(self.scores)))
        weights[np.arange(len(runs)), runs] = 1
        return Estimate(self, self.scores[list(runs)], weights)


def sample(metric: str, labels: Classes, predictions: Classes, units: Units) -> Sample:
    """Score runs, ``predictions`` ``(runs, examples)``, and find how their scores vary together over test splits.

    Raises:
        CodekdError: the metric has no formula.
    """
    formula = metric_of(metric)
    step = max(1, BLOCK // max(1, len(labels)))
    scores, influences = zip(
        *(
            _of_units(*formula(labels, predictions[start : start + step]), units)
            for start in range(0, len(predictions), step)
        ),
        strict=True,
    )
    return Sample(np.concatenate(scores), _covariance(np.concatenate(influences), units), units.count - 1, units.kind)


def _of_units(scores: Floats, influences: Floats, units: Units) -> tuple[Floats, Floats]:
    """Influences of groups, ``(runs, groups)``; those of examples stay, in single precision."""
    if units.kind == "group":
        return scores, _summed(influences, units.members[0], units.count)
    return scores, influences.astype(np.float32)


def _covariance(influences: Floats, units: Units) -> Floats:
    """``(runs, runs)``, from the influences of groups or of examples."""
    if units.kind == "function":
        # Two pairs vary together where they share a function (Aronow, Samii & Assenova 2015); a pair shares two with
        # itself, and is to be counted once.
        first, second = (_summed(influences, members, units.count) for members in units.members)
        return _positive(_products(first + second) - _products(influences))
    share = np.bincount(units.members[0], minlength=units.count) / len(units.members[0])
    without = influences / np.maximum(1 - share, 1e-12)
    return (units.count - 1) / units.count * _products(without)


def _products(influences: Floats) -> Floats:
    """``influences @ influences.T`` in double precision, ``(runs, runs)``."""
    step = max(1, BLOCK // max(1, len(influences)))
    found = np.zeros((len(influences), len(influences)))
    for start in range(0, influences.shape[1], step):
        part = influences[:, start : start + step].astype(float)
        found += part @ part.T
    return found


def _summed(influences: Floats, members: NDArray[np.int64], count: int) -> Floats:
    """Influences of units, ``(runs, units)``."""
    return np.stack([np.bincount(members, weights=row, minlength=count) for row in influences])


def _positive(matrix: Floats) -> Floats:
    """The nearest matrix that can be a covariance."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.maximum(values, 0)) @ vectors.T


@dataclass(frozen=True)
class Estimate:
    """A number that is known for every seed, and how it follows from the scores of runs.

    ``values`` are ``(seeds,)``, and ``weights`` ``(seeds, runs)`` their derivatives by the runs' scores. A number with
    one value holds for every seed, such as the score of the one teacher.
    """

    sample: Sample
    values: Floats
    weights: Floats

    def __sub__(self, other: "Estimate") -> "Estimate":
        """The difference, seed by seed."""
        return Estimate(self.sample, self.values - other.values, self.weights - other.weights)

    def __truediv__(self, other: "Estimate | float") -> "Estimate":
        """The ratio, seed by seed."""
        if not isinstance(other, Estimate):
            return Estimate(self.sample, self.values / other, self.weights / other)
        ratio, below = self.values / other.values, other.values[:, None]
        return Estimate(self.sample, ratio, self.weights / below - ratio[:, None] * other.weights / below)

    @property
    def value(self) -> float:
        """The mean over seeds."""
        return float(self.values.mean())

    @property
    def seeds(self) -> int:
        """How many values there are."""
        return len(self.values)

    @cached_property
    def _error(self) -> tuple[float, float]:
        """Standard error and degrees of freedom."""
        mean, covariance = self.weights.mean(axis=0), self.sample.covariance
        groups, n = float(mean @ covariance @ mean), self.seeds
        if n == 1:
            return groups**0.5, self.sample.freedom
        seeds = float(self.values.var(ddof=1)) / n
        apart = self.weights - mean
        both = float(np.einsum("sr,rq,sq->", apart, covariance, apart)) / (n - 1) / n
        luck = max(0.0, seeds - both)
        total = groups + luck
        if total == 0:
            return 0.0, self.sample.freedom
        # The variance of an estimated variance: what is subtracted does not make that of the seeds any surer.
        spread = groups**2 / self.sample.freedom + (seeds**2 / (n - 1) if luck else 0.0)
        return total**0.5, total**2 / spread

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Both ends of the confidence interval; of one seed, that of this model alone."""
        error, freedom = self._error
        reach = float(stats.t.ppf((1 + level) / 2, freedom)) * error
        return self.value - reach, self.value + reach

    def p_value(self) -> float | None:
        """Two-sided, of the number being zero; None with one seed, whose luck is unknown."""
        error, freedom = self._error
        if self.seeds == 1:
            return None
        if error == 0:
            return float(self.value == 0)
        return float(2 * stats.t.sf(abs(self.value) / error, freedom))


def mean(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of some numbers, seed by seed."""
    first = estimates[0]
    values = np.mean([one.values for one in estimates], axis=0)
    return Estimate(first.sample, values, np.mean([one.weights for one in estimates], axis=0))
