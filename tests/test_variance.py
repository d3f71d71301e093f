"""Metrics, influences and variances against naive versions, and the whole against simulated studies."""

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score

from codekd.analysis.influence import METRICS
from codekd.analysis.variance import Estimate, Sample, Units, mean, sample
from codekd.errors import CodekdError

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

GENERATOR = np.random.default_rng(7)


def drawn(examples: int, runs: int, classes: int, right: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    labels = GENERATOR.integers(classes, size=examples)
    guesses = GENERATOR.integers(classes, size=(runs, examples))
    return labels, np.where(GENERATOR.random((runs, examples)) < right, labels, guesses)


def by_sklearn(metric: str, labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray | None = None) -> float:
    if metric == "accuracy":
        return accuracy_score(labels, predictions, sample_weight=weights)
    average = {"f1": {"average": "binary"}, "macro_f1": {"average": "macro", "labels": np.unique(labels)}}[metric]
    return f1_score(labels, predictions, zero_division=0, sample_weight=weights, **average)


@pytest.mark.parametrize(("metric", "classes"), [("accuracy", 5), ("f1", 2), ("macro_f1", 5)])
def test_a_score_is_sklearns_and_an_influence_its_derivative_by_an_examples_weight(metric, classes):
    labels, predictions = drawn(examples=30, runs=3, classes=classes)
    scores, influences = METRICS[metric](labels, predictions)
    np.testing.assert_allclose(influences.sum(axis=1), 0, atol=1e-12)
    for run, score, influence in zip(predictions, scores, influences, strict=True):
        assert score == pytest.approx(by_sklearn(metric, labels, run))
        for example in range(30):
            up, down = (np.ones(30) + sign * 1e-5 * (np.arange(30) == example) for sign in (1, -1))
            slope = (by_sklearn(metric, labels, run, up) - by_sklearn(metric, labels, run, down)) / 2e-5
            assert influence[example] == pytest.approx(slope, abs=1e-8)


def test_f1_is_zero_where_nothing_is_positive():
    scores, influences = METRICS["f1"](np.zeros(4, dtype=int), np.zeros((1, 4), dtype=int))
    assert scores == [0] and not influences.any()


def test_an_unknown_metric_is_refused():
    with pytest.raises(CodekdError, match=r"'auc'.*accuracy, f1, macro_f1"):
        sample("auc", np.zeros(2, int), np.zeros((1, 2), int), Units.of(np.arange(2)))


def leaving_out_groups(metric: str, labels: np.ndarray, run: np.ndarray, groups: np.ndarray) -> float:
    """The jackknife's variance, with every score computed anew."""
    whole, names = by_sklearn(metric, labels, run), np.unique(groups)
    without = [by_sklearn(metric, labels[groups != name], run[groups != name]) for name in names]
    return (len(names) - 1) / len(names) * sum((one - whole) ** 2 for one in without)


@pytest.mark.parametrize(("metric", "tolerance"), [("accuracy", 1e-9), ("f1", 0.05)])
def test_the_variance_over_groups_is_that_of_leaving_out_each(metric, tolerance):
    labels, predictions = drawn(examples=600, runs=2, classes=2)
    groups = np.repeat(np.arange(10), [150, 100, 80, 70, 60, 50, 40, 30, 15, 5])
    found = sample(metric, labels, predictions, Units.of(groups))
    expected = [leaving_out_groups(metric, labels, run, groups) for run in predictions]
    np.testing.assert_allclose(np.diag(found.covariance), expected, rtol=tolerance)
    assert (found.kind, found.freedom) == ("group", 9)


def test_one_run_of_examples_that_are_alone_has_the_interval_of_a_mean():
    labels, predictions = drawn(examples=500, runs=1, classes=3)
    estimate = sample("accuracy", labels, predictions, Units.of(np.arange(500))).estimate([0])
    right = (predictions[0] == labels).astype(float)
    theirs = stats.ttest_1samp(right, 0).confidence_interval()
    assert estimate.interval() == pytest.approx(tuple(theirs), abs=2e-4)
    assert estimate.p_value() is None, "one seed"


def naive_two_way(right: np.ndarray, other: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """Standard error and degrees of freedom of the mean difference, ``(seeds, examples)`` each, in plain loops."""
    n = len(right)
    names = np.unique(groups)
    difference = right.astype(float) - other
    of_seeds = [difference[seed].mean() for seed in range(n)]
    left = np.zeros((n, len(names)))
    for seed in range(n):
        for place, name in enumerate(names):
            left[seed, place] = difference[seed][groups != name].mean() - of_seeds[seed]
    factor = (len(names) - 1) / len(names)
    over_groups = factor * sum(left[:, place].mean() ** 2 for place in range(len(names)))
    over_seeds = np.var(of_seeds, ddof=1) / n
    of_both = factor * sum(np.var(left[:, place], ddof=1) for place in range(len(names))) / n
    luck = max(0.0, over_seeds - of_both)
    total = over_groups + luck
    spread = over_groups**2 / (len(names) - 1) + (over_seeds**2 / (n - 1) if luck else 0)
    return total**0.5, total**2 / spread


@pytest.mark.parametrize("spread", [0.0, 0.05])
def test_a_difference_counts_groups_seeds_and_what_both_hold_once(spread):
    labels = np.zeros(400, dtype=int)
    groups = np.repeat(np.arange(8), [90, 80, 70, 50, 40, 30, 25, 15])
    chances = 0.6 + spread * GENERATOR.standard_normal((6, 1))
    predictions = (GENERATOR.random((6, 400)) > chances).astype(int)
    found = sample("accuracy", labels, predictions, Units.of(groups))
    difference = found.estimate([0, 1, 2]) - found.estimate([3, 4, 5])
    error, freedom = naive_two_way(predictions[:3] == 0, predictions[3:] == 0, groups)
    low, high = difference.interval()
    assert (high - low) / 2 == pytest.approx(stats.t.ppf(0.975, freedom) * error)
    assert difference.p_value() == pytest.approx(2 * stats.t.sf(abs(difference.value) / error, freedom))


def test_methods_are_compared_seed_by_seed():
    found = Sample(np.array([0.5, 0.6, 0.7, 0.6, 0.7, 0.8]), np.zeros((6, 6)), 10, "group")
    gain = found.estimate([3, 4, 5]) - found.estimate([0, 1, 2])
    assert gain.value == pytest.approx(0.1) and np.subtract(*gain.interval()) == pytest.approx(0)
    apart = found.estimate([5, 3, 4]) - found.estimate([0, 1, 2])
    assert np.subtract(*apart.interval()) < -0.1


def test_a_ratio_and_a_mean_are_those_of_scores_with_a_group_left_out():
    labels, predictions = drawn(examples=900, runs=2, classes=2)
    groups = np.repeat(np.arange(9), 100)
    found = sample("accuracy", labels, predictions, Units.of(groups))
    first, second = found.estimate([0]), found.estimate([1])

    def left(function) -> float:
        scores = [
            [by_sklearn("accuracy", labels[groups != g], run[groups != g]) for run in predictions] for g in range(9)
        ]
        values = np.array([function(*pair) for pair in scores])
        return (8 / 9 * ((values - function(*found.scores)) ** 2).sum()) ** 0.5

    for made, function in (
        (first / second, lambda a, b: a / b),
        (mean([first, second]), lambda a, b: (a + b) / 2),
        (first / 0.9, lambda a, b: a / 0.9),
    ):
        assert isinstance(made, Estimate)
        reach = stats.t.ppf(0.975, 8) * left(function)
        assert made.interval() == pytest.approx((made.value - reach, made.value + reach), abs=2e-3)


def test_few_groups_are_no_sample_and_pairs_vary_together_where_they_share_a_function():
    labels, predictions = drawn(examples=60, runs=1, classes=2)
    groups = np.repeat(["a", "b", "c"], 20)
    assert Units.of(groups).kind == "example"
    sides = np.array([GENERATOR.choice(15, size=2, replace=False) for _ in range(60)])
    units = Units.of(groups, sides)
    assert units.kind == "function" and units.count == len(np.unique(sides))
    assert Units.of(np.arange(60), sides).kind == "function", "every pair a group of its own"
    assert Units.of(np.repeat(np.arange(10), 6), sides).kind == "group"
    influence = (predictions[0] == labels) / 60 - (predictions[0] == labels).mean() / 60
    naive = 0.0
    for one in range(60):
        for other in range(60):
            shared = len(set(sides[one]) & set(sides[other]))
            naive += influence[one] * influence[other] * (1 if one == other else shared)
    assert naive > 0
    assert sample("accuracy", labels, predictions, units).covariance[0, 0] == pytest.approx(naive)


def test_blocks_of_runs_change_nothing(monkeypatch):
    labels, predictions = drawn(examples=50, runs=7, classes=2)
    groups = np.repeat(np.arange(10), 5)
    whole = [sample("f1", labels, predictions, units) for units in (Units.of(groups), Units.of(np.arange(50)))]
    monkeypatch.setattr("codekd.analysis.variance.BLOCK", 100)
    parts = [sample("f1", labels, predictions, units) for units in (Units.of(groups), Units.of(np.arange(50)))]
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one.scores, other.scores)
        np.testing.assert_allclose(one.covariance, other.covariance, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(("seeds", "spread"), [(3, 0.0), (3, 2.0), (5, 1.0)])
def test_equal_methods_are_called_different_about_as_often_as_promised(seeds, spread):
    """Of 500 simulated studies; the whole table is made by benchmarks/intervals.py."""
    from intervals import REAL, rates

    rejected, covered, _ = rates(REAL, 500, seeds, spread, gain=0.0)
    low, high = stats.binom.ppf([0.001, 0.999], 500, [0.03, 0.07]) / 500
    assert low <= rejected <= high
    assert covered == pytest.approx(1 - rejected)
