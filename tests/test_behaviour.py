"""Likeness and calibration against versions in plain Python."""

import math

import numpy as np
import pytest
from scipy.special import log_softmax

from codekd.analysis.behaviour import (
    MAX_CONFIDENCE_GAP,
    MAX_DIVERGENCE,
    brier,
    calibration_error,
    likeness,
    reliability,
)

DRAW = np.random.default_rng(3)
STUDENT, TEACHER = (log_softmax(DRAW.normal(0, scale, size=(60, 3)), axis=1) for scale in (1.0, 2.0))
LABELS = DRAW.integers(3, size=60)


def softmax(row):
    powers = [math.exp(value) for value in row]
    return [power / sum(powers) for power in powers]


def divergence(first, second, logarithm):
    return sum(p * logarithm(p / q) for p, q in zip(first, second, strict=True) if p)


def test_likeness_is_that_of_the_formulas():
    same, kl, gaps, broken = [], [], [], []
    for student, teacher in zip(map(softmax, STUDENT), map(softmax, TEACHER), strict=True):
        middle = [(p + q) / 2 for p, q in zip(student, teacher, strict=True)]
        js = sum(divergence(one, middle, math.log2) for one in (student, teacher)) / 2
        same.append(student.index(max(student)) == teacher.index(max(teacher)))
        kl.append(divergence(teacher, student, math.log))
        gaps.append(abs(max(student) - max(teacher)))
        broken.append((not same[-1], js > MAX_DIVERGENCE, gaps[-1] > MAX_CONFIDENCE_GAP))
    found = likeness(STUDENT, TEACHER)
    assert found.agreement == pytest.approx(np.mean(same))
    assert found.kl == pytest.approx(np.mean(kl))
    assert found.confidence_gap == pytest.approx(np.mean(gaps))
    shares = (found.other_class, found.other_distribution, found.other_confidence)
    assert shares == pytest.approx(np.mean(broken, axis=0).tolist())
    assert found.discrepancy == pytest.approx(np.mean([any(one) for one in broken]))


def test_a_model_is_like_itself_however_sure_it_is():
    sure = log_softmax(1e4 * STUDENT, axis=1)
    found = likeness(sure, sure)
    assert (found.agreement, found.kl, found.discrepancy) == (1, 0, 0)


def test_calibration_error_and_brier_score_are_those_of_the_formulas():
    bins: dict[int, list[tuple[float, bool]]] = {}
    squares = []
    for row, label in zip(map(softmax, STUDENT), LABELS, strict=True):
        confidence = max(row)
        bins.setdefault(math.ceil(confidence * 15), []).append((confidence, row.index(confidence) == label))
        squares.append(sum((p - (number == label)) ** 2 for number, p in enumerate(row)))
    error = 0.0
    for members in bins.values():
        confidences, rights = zip(*members, strict=True)
        error += len(members) / 60 * abs(sum(confidences) / len(members) - sum(rights) / len(members))
    assert calibration_error(STUDENT, LABELS) == pytest.approx(error)
    assert brier(STUDENT, LABELS) == pytest.approx(np.mean(squares))
    edges, confidence, _, share = reliability(STUDENT, LABELS)
    assert (confidence <= edges).all() and (confidence > edges - 1 / 15).all()
    assert share.sum() == pytest.approx(1)


def test_a_model_that_is_always_right_and_sure_is_calibrated():
    logits = np.full((4, 2), -50.0)
    logits[np.arange(4), [0, 1, 1, 0]] = 50
    sure = log_softmax(logits, axis=1)
    assert calibration_error(sure, np.array([0, 1, 1, 0])) == pytest.approx(0)
    assert calibration_error(sure, np.array([1, 0, 0, 1])) == pytest.approx(1)
