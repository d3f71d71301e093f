"""Fidelity of a student to its teacher, and calibration of a model, by log-probabilities on the test split.

The relations of MetaCompress (arXiv 2511.05476) between a student and its teacher are checked for every example: the
same class, nearly the same distribution, nearly the same confidence.

Shapes: log-probabilities, in nats, are ``(examples, classes)``, and labels, as class numbers, ``(examples,)``.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Classes = NDArray[np.integer]

BINS = 15
MAX_DIVERGENCE = 0.05
"""Largest Jensen-Shannon divergence, in bits, of two distributions that count as alike.

It is about that between 50 % and 75 % for one of two classes.
"""
MAX_CONFIDENCE_GAP = 0.1


@dataclass(frozen=True)
class Likeness:
    """Fidelity of a student to its teacher, as means over the test examples.

    Attributes:
        agreement: share of the examples with equal predictions.
        kl: Kullback-Leibler divergence KL(teacher || student), in nats.
        confidence_gap: absolute difference of both models' confidences: of the probabilities of what each predicts.
        other_class: share of the examples with different predictions.
        other_distribution: share of the examples whose distributions differ by more than ``MAX_DIVERGENCE``.
        other_confidence: share of the examples whose confidences differ by more than ``MAX_CONFIDENCE_GAP``.
        discrepancy: share of the examples to which at least one of the three above applies.
    """

    agreement: float
    kl: float
    confidence_gap: float
    other_class: float
    other_distribution: float
    other_confidence: float
    discrepancy: float


def likeness(student: Floats, teacher: Floats) -> Likeness:
    """Compare a student's log-probabilities with its teacher's."""
    p_student, p_teacher = np.exp(student), np.exp(teacher)
    gap = np.abs(p_student.max(axis=1) - p_teacher.max(axis=1))
    relations = np.stack(
        [
            student.argmax(axis=1) != teacher.argmax(axis=1),
            _jensen_shannon(p_student, p_teacher) > MAX_DIVERGENCE,
            gap > MAX_CONFIDENCE_GAP,
        ]
    )
    other_class, other_distribution, other_confidence = relations.mean(axis=1).tolist()
    return Likeness(
        agreement=1 - other_class,
        kl=float((p_teacher * (teacher - student)).sum(axis=1).mean()),
        confidence_gap=float(gap.mean()),
        other_class=other_class,
        other_distribution=other_distribution,
        other_confidence=other_confidence,
        discrepancy=float(relations.any(axis=0).mean()),
    )


def calibration_error(log_probabilities: Floats, labels: Classes, bins: int = BINS) -> float:
    """Expected calibration error of the predicted class over bins of equal width (Guo et al. 2017)."""
    _, confidence, accuracy, share = reliability(log_probabilities, labels, bins)
    return float((share * np.abs(confidence - accuracy)).sum())


def reliability(log_probabilities: Floats, labels: Classes, bins: int = BINS) -> tuple[Floats, Floats, Floats, Floats]:
    """Points of a reliability diagram: confidence and accuracy in bins of equal width of the confidence.

    Returns:
        Upper edges, mean confidences, accuracies and shares of the examples of the bins that have examples,
        ``(bins,)`` each.
    """
    probabilities = np.exp(log_probabilities)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    edges = np.linspace(0, 1, bins + 1)[1:]
    found, place, counts = np.unique(
        np.digitize(confidence, edges[:-1], right=True), return_inverse=True, return_counts=True
    )
    means = [np.bincount(place, weights=values) / counts for values in (confidence, right.astype(float))]
    return edges[found], means[0], means[1], counts / len(labels)


def brier(log_probabilities: Floats, labels: Classes) -> float:
    """Mean squared distance of the probabilities from the label, summed over classes (Brier 1950)."""
    distances = np.exp(log_probabilities)
    distances[np.arange(len(labels)), labels] -= 1
    return float((distances**2).sum(axis=1).mean())


def _jensen_shannon(first: Floats, second: Floats) -> Floats:
    """Jensen-Shannon divergence of probabilities ``(examples, classes)``, in bits, ``(examples,)``."""
    middle = (first + second) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [np.where(one > 0, one * np.log2(one / middle), 0).sum(axis=1) for one in (first, second)]
    return (parts[0] + parts[1]) / 2
