import numpy as np
import pytest
from scipy.stats import bootstrap
from sklearn.metrics import accuracy_score, f1_score

from codekd.analysis import intervals
from codekd.errors import CodekdError

GENERATOR = np.random.default_rng(7)


def sample(examples: int, runs: int, classes: int, right: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    labels = GENERATOR.integers(classes, size=examples)
    guesses = GENERATOR.integers(classes, size=(runs, examples))
    return labels, np.where(GENERATOR.random((runs, examples)) < right, labels, guesses)


REFERENCES = {
    "accuracy": accuracy_score,
    "f1": lambda labels, predictions: f1_score(labels, predictions, zero_division=0),
    "macro_f1": lambda labels, predictions: f1_score(
        labels, predictions, labels=np.unique(labels), average="macro", zero_division=0
    ),
}


@pytest.mark.parametrize(("metric", "classes"), [("accuracy", 5), ("f1", 2), ("macro_f1", 5)])
def test_a_metric_of_counts_is_the_metric_of_the_drawn_examples(metric, classes):
    labels, predictions = sample(examples=12, runs=3, classes=classes)  # few: some classes are not drawn
    draws = GENERATOR.integers(12, size=(40, 12))
    counts = np.stack([np.bincount(drawn, minlength=12) for drawn in draws]).astype(np.float32)
    expected = [[REFERENCES[metric](labels[drawn], run[drawn]) for run in predictions] for drawn in draws]
    np.testing.assert_allclose(intervals.METRICS[metric](counts, labels, predictions), expected, atol=1e-12)


def test_f1_is_zero_where_nothing_is_positive():
    labels, predictions = np.zeros(4, dtype=int), np.zeros((1, 4), dtype=int)
    assert intervals.f1(np.ones((1, 4), dtype=np.float32), labels, predictions) == 0


def test_interval_of_a_mean_agrees_with_scipy():
    labels, predictions = sample(examples=400, runs=1, classes=2)
    ours = intervals.interval(intervals.resample_examples("accuracy", labels, predictions, 9000)[:, 0])
    right = (predictions[0] == labels).astype(float)
    theirs = bootstrap((right,), np.mean, method="percentile", n_resamples=9000, rng=1).confidence_interval
    assert ours == pytest.approx(tuple(theirs), abs=0.004)


def test_interval_of_a_difference_is_paired():
    labels, (first, second) = sample(examples=400, runs=2, classes=2)
    second = np.where(np.arange(400) < 380, first, second)  # two runs that differ on few examples
    scores = intervals.resample_examples("accuracy", labels, np.stack([first, second]), 9000)
    ours = intervals.interval(scores[:, 0] - scores[:, 1])
    theirs = bootstrap(
        ((first == labels).astype(float), (second == labels).astype(float)),
        lambda a, b, axis: (a - b).mean(axis=axis),
        paired=True, method="percentile", n_resamples=9000, rng=1,
    ).confidence_interval  # fmt: skip
    assert ours == pytest.approx(tuple(theirs), abs=0.004)
    assert ours[1] - ours[0] < 0.5 * np.subtract(*intervals.interval(scores[:, 0])[::-1])


def test_runs_scored_apart_meet_the_same_resamples(monkeypatch):
    labels, predictions = sample(examples=50, runs=2, classes=2)
    together = intervals.resample_examples("f1", labels, predictions)
    monkeypatch.setattr(intervals, "BLOCK", 50 * 7)  # many small blocks must not change the draws
    np.testing.assert_array_equal(together[:, 1:], intervals.resample_examples("f1", labels, predictions[1:]))


def test_spread_over_seeds_is_that_of_a_mean_of_independent_runs():
    seeds, scores = [1, 2, 3], np.array([0.50, 0.53, 0.59])
    means = intervals.resample_seeds(np.tile(scores, (20_000, 1)), seeds)
    assert means.mean() == pytest.approx(scores.mean(), abs=1e-3)
    assert means.std() == pytest.approx(scores.std(ddof=1) / np.sqrt(3), rel=0.02)


def test_methods_with_the_same_seeds_are_paired_over_seeds():
    scores = np.tile([0.5, 0.6, 0.7, 0.8], (100, 1))
    gain = intervals.resample_seeds(scores + 0.1, [1, 2, 3, 4]) - intervals.resample_seeds(scores, [1, 2, 3, 4])
    np.testing.assert_allclose(gain, 0.1)
    assert np.std(intervals.resample_seeds(scores, [5, 6, 7, 8]) - intervals.resample_seeds(scores, [1, 2, 3, 4])) > 0


def test_a_single_seed_is_kept():
    np.testing.assert_array_equal(intervals.resample_seeds(np.array([[0.5], [0.6]]), [1]), [0.5, 0.6])


def test_an_unknown_metric_is_refused():
    with pytest.raises(CodekdError, match=r"'auc'.*accuracy, f1, macro_f1"):
        intervals.resample_examples("auc", np.zeros(2, int), np.zeros((1, 2), int))
