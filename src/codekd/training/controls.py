"""Changes of control methods to what a student learns from: repeated examples, and logits of other examples."""

import numpy as np
from numpy.typing import NDArray

from codekd.data.batches import Rows


def repeated(labelled: int, count: int, seed: int) -> Rows:
    """Rows ``(count,)`` of the first ``labelled`` examples, each as often as another or once more.

    Which ones come once more is random, by ``seed``.
    """
    order = np.random.default_rng(seed).permutation(labelled)
    return np.resize(order, count)


def shuffled_within_classes(logits: NDArray[np.generic], seed: int) -> Rows:
    """Row of another example with the same largest logit, for each example, ``(examples,)``.

    A random circle through the examples of a predicted class: no example has itself, unless it is the only one of its
    class, and each is another's once.

    Args:
        logits: ``(examples, classes)``.
        seed: seed of the circles.
    """
    generator = np.random.default_rng(seed)
    predicted, rows = logits.argmax(1), np.arange(len(logits))
    for label in np.unique(predicted):
        circle = generator.permutation(np.flatnonzero(predicted == label))
        rows[circle] = np.roll(circle, 1)
    return rows
