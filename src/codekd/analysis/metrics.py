"""Scores of class predictions."""

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import accuracy_score, f1_score


def scores(labels: ArrayLike, predictions: ArrayLike, classes: int) -> dict[str, float]:
    """Accuracy and macro-F1, and for a two-class task the F1 of class 1, each in [0, 1].

    Macro-F1 averages over the classes that occur in ``labels``; an F1 without any true positive counts as 0.

    Args:
        labels: class numbers, ``(examples,)``.
        predictions: class numbers, ``(examples,)``.
        classes: number of classes of the task.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    result = {
        "accuracy": accuracy_score(labels, predictions),
        "macro_f1": f1_score(labels, predictions, labels=np.unique(labels), average="macro", zero_division=0),
    }
    if classes == 2:
        result["f1"] = f1_score(labels, predictions, pos_label=1, zero_division=0)
    return {name: float(score) for name, score in result.items()}
