"""Calibration of scores of any scale: one factor, fitted on labelled examples that nothing was trained on."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from codekd.data.labels import UNLABELLED

LARGEST = 1e3
"""Largest factor, and inverse of the smallest: where all predictions are right, none would be large enough."""

Logits = NDArray[np.float64]


def scale_of(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """Factor of logits with the least cross-entropy with the labels; 1 where no example has a label.

    It is one over the temperature of Guo et al., "On Calibration of Modern Neural Networks", arXiv 1706.04599, section
    4.2: no prediction changes.

    Args:
        logits: ``(examples, classes)``.
        labels: ``(examples,)``, -1 for an unknown one, which does not count.
    """
    known = labels != UNLABELLED
    if not known.any():
        return 1.0
    rows, places = np.asarray(logits, dtype=np.float64)[known], np.asarray(labels)[known]

    def cross_entropy(power: float) -> float:
        return float(-log_softmax(np.exp(power) * rows, axis=1)[np.arange(len(rows)), places].mean())

    limit = np.log(LARGEST)
    found = minimize_scalar(cross_entropy, bounds=(-limit, limit), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def log_probabilities(logits: NDArray[np.floating], scale: float) -> Logits:
    """Log-probabilities ``log softmax(scale z)``, ``(examples, classes)`` float64, of logits z of that shape."""
    return log_softmax(scale * np.asarray(logits, dtype=np.float64), axis=1)
