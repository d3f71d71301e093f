"""Whether a student behaves like its teacher, beyond being right as often.

Of the log-probabilities of both on the test split. What MetaCompress (arXiv 2511.05476) asks of a student is asked here
of every example: the same class, nearly the same distribution, nearly the same confidence.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Classes = NDArray[np.integer]

BINS = 15
MAX_DIVERGENCE = 0.05
"""Jensen-Shannon divergence in bits up to which distributions count as alike: 50 % and 75 % for one of two classes."""
MAX_CONFIDENCE_GAP = 0.1


@dataclass(frozen=True)
class Likeness:
    """Means over examples of how like its teacher a student is.

    ``agreement`` is the share of equal predictions, ``kl`` the divergence KL(teacher || student) in nats,
    ``confidence_gap`` the distance of the probabilities of what each predicts. The others are the shares of examples
    where a relation does not hold, and ``discrepancy`` of those where one at least does not.
    """

    agreement: float
    kl: float
    confidence_gap: float
    other_class: float
    other_distribution: float
    other_confidence: float
    discrepancy: float


def likeness(student: Floats, teacher: Floats) -> Likeness:
    """Compare the log-probabilities of two models, ``(examples, classes)`` each."""
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
    """What a reliability diagram shows, of the bins that have examples.

    Returns:
        The bins' upper edges, mean confidences, accuracies, and shares of the examples, ``(bins,)`` each.
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
    """In bits, ``(examples,)``."""
    middle = (first + second) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [np.where(one > 0, one * np.log2(one / middle), 0).sum(axis=1) for one in (first, second)]
    return (parts[0] + parts[1]) / 2
