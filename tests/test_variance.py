"""Metrics and variances against naive versions, and the whole against simulated studies."""

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score

from codekd.analysis.jackknife import METRICS, Partition
from codekd.analysis.variance import Estimate, Sample, Units, mean, sample
from codekd.errors import CodekdError

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

GENERATOR = np.random.default_rng(7)


def drawn(examples: int, runs: int, classes: int, right: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    labels = GENERATOR.integers(classes, size=examples)
    guesses = GENERATOR.integers(classes, size=(runs, examples))
    return labels, np.where(GENERATOR.random((runs, examples)) < right, labels, guesses)


def by_sklearn(metric: str, labels: np.ndarray, predictions: np.ndarray) -> float:
    if metric == "accuracy":
        return accuracy_score(labels, predictions)
    average = {"f1": {"average": "binary"}, "macro_f1": {"average": "macro", "labels": np.unique(labels)}}[metric]
    return f1_score(labels, predictions, zero_division=0, **average)


UNEVEN = np.repeat(np.arange(10), [150, 100, 80, 70, 60, 50, 40, 30, 15, 5])


@pytest.mark.parametrize(("metric", "classes"), [("accuracy", 5), ("f1", 2), ("macro_f1", 5)])
@pytest.mark.parametrize("units", [UNEVEN, np.arange(30)], ids=["groups", "examples"])
def test_a_score_and_what_it_is_without_a_unit_are_sklearns(metric, classes, units):
    labels, predictions = drawn(examples=len(units), runs=3, classes=classes)
    # Positives are where the last units are, so that to leave one out changes what there is to find.
    labels = np.where(units > 6, 1, labels) if metric == "f1" else labels
    labels[units == 9] = classes - 1 if metric == "macro_f1" else labels[units == 9]
    scores, changes = METRICS[metric](labels, predictions, Partition(units, units.max() + 1))
    for run, score, change in zip(predictions, scores, changes, strict=True):
        assert score == pytest.approx(by_sklearn(metric, labels, run))
        for unit in range(units.max() + 1):
            left = units != unit
            assert score + change[unit] == pytest.approx(by_sklearn(metric, labels[left], run[left]))


def test_f1_is_zero_where_nothing_is_positive():
    labels, run = np.zeros(40, dtype=int), np.zeros((1, 40), dtype=int)
    estimate = sample("f1", labels, run, Units.of(np.repeat(np.arange(10), 4))).estimate([0])
    assert estimate.value == 0 and estimate.interval() is None


def test_an_unknown_metric_is_refused():
    with pytest.raises(CodekdError, match=r"'auc'.*accuracy, f1, macro_f1"):
        sample("auc", np.zeros(2, int), np.zeros((1, 2), int), Units.of(np.arange(2)))


@pytest.mark.parametrize("metric", ["accuracy", "f1"])
def test_the_variance_over_groups_is_that_of_leaving_out_each(metric):
    labels, predictions = drawn(examples=600, runs=2, classes=2)
    found = sample(metric, labels, predictions, Units.of(UNEVEN))
    for place, run in enumerate(predictions):
        whole = by_sklearn(metric, labels, run)
        without = [by_sklearn(metric, labels[left], run[left]) for left in (group != UNEVEN for group in range(10))]
        assert found.covariance[place, place] == pytest.approx(0.9 * sum((one - whole) ** 2 for one in without))
    assert found.freedom == 9


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
    total = over_groups + max(0.0, over_seeds - of_both)
    freedom = total**2 / (over_groups**2 / (len(names) - 1) + over_seeds**2 / (n - 1))
    return total**0.5, max(freedom, min(n - 1, len(names) - 1))


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
    found = Sample(np.array([0.5, 0.6, 0.7, 0.6, 0.7, 0.8]), np.zeros((6, 6)), 10)
    gain = found.estimate([3, 4, 5]) - found.estimate([0, 1, 2])
    assert gain.value == pytest.approx(0.1) and (gain.interval() is None or np.ptp(gain.interval()) < 1e-12)
    apart = found.estimate([5, 3, 4]) - found.estimate([0, 1, 2])
    assert np.subtract(*apart.interval()) < -0.1


def test_runs_that_predict_the_same_differ_by_nothing():
    """To the last bit, which rounding would make a variance of its own."""
    for number in range(20):
        labels, predictions = drawn(examples=100, runs=3, classes=2)
        found = sample("accuracy", labels, np.concatenate([predictions, predictions]), Units.of(np.arange(100) % 10))
        difference = found.estimate([0, 1, 2]) - found.estimate([3, 4, 5])
        assert difference.interval() is None and difference.p_value() == 1, number


def test_where_nothing_varies_nothing_is_certain():
    """A perfect score, and a difference that is the same in every group."""
    labels = np.zeros(80, dtype=int)
    perfect, wrong_once = np.zeros((3, 80), dtype=int), np.tile(np.arange(80) < 8, (3, 1)).astype(int)
    found = sample("accuracy", labels, np.concatenate([perfect, wrong_once]), Units.of(np.arange(80) % 8))
    first, second = found.estimate([0, 1, 2]), found.estimate([3, 4, 5])
    assert first.value == 1 and first.interval() is None
    assert (first - second).value == pytest.approx(0.1)
    assert (first - second).interval() is None and (first - second).p_value() == 1
    alone = sample("accuracy", labels[:1], wrong_once[:, :1], Units.of(np.arange(1)))
    assert alone.estimate([0, 1, 2]).interval() is None


def test_degrees_of_freedom_are_at_least_those_of_the_rarer_source():
    """Also where what both sources hold is by chance larger than what either does."""
    for _ in range(200):
        labels, predictions = drawn(examples=60, runs=4, classes=2)
        found = sample("accuracy", labels, predictions, Units.of(np.arange(60) % 10))
        _, freedom = (found.estimate([0, 1]) - found.estimate([2, 3]))._error
        assert 1 <= freedom <= 10


def test_runs_with_other_numbers_of_seeds_are_not_paired():
    found = Sample(np.arange(5.0), np.eye(5), 10)
    with pytest.raises(CodekdError, match="3 and 2 seeds"):
        found.estimate([0, 1, 2]) - found.estimate([3, 4])
    with pytest.raises(CodekdError, match="2 and 1 seeds"):
        mean([found.estimate([0, 1]), found.estimate([2])])


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
    assert Units.of(np.concatenate([np.zeros(41), np.arange(19) % 9 + 1])).kind == "example", "one outweighs the others"
    assert Units.of(np.arange(60)).kind == "example", "every example a group of its own"
    sides[1] = sides[0][::-1]  # the same pair, turned
    sides[2] = sides[2][0]  # a function with itself
    units = Units.of(groups, sides)
    predictions = np.where(sides.min(axis=1) % 2, labels, 1 - labels)[None, :]
    right = (predictions[0] == labels) - (predictions[0] == labels).mean()
    naive = sum(
        right[one] * right[other] / 59**2
        for one in range(60)
        for other in range(60)
        if set(sides[one]) & set(sides[other])
    )
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


@pytest.mark.parametrize(("seeds", "spread"), [(3, 0.0), (3, 2.0)])
def test_equal_methods_are_called_different_about_as_often_as_promised(seeds, spread):
    """Of 1,000 simulated studies; all of them are made by benchmarks/intervals.py."""
    from intervals import REAL, rates

    rejected, covered, _ = rates(REAL, 1000, seeds, spread, gain=0.0)
    low, high = stats.binom.ppf([0.01, 0.99], 1000, [0.03, 0.07]) / 1000
    assert low <= rejected <= high
    assert covered == pytest.approx(1 - rejected)
