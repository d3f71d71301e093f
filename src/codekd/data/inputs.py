"""Input arrays of models, right-padded."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Inputs(NamedTuple):
    """Input arrays of a model, right-padded, all int64 ``(rows, length)``; a row is an example, or one side of a pair.

    ``attention_mask`` is 1 at tokens and 0 at padding; ``token_type_ids`` are 1 on the second side of a pair, else 0.
    """

    input_ids: NDArray[np.int64]
    attention_mask: NDArray[np.int64]
    token_type_ids: NDArray[np.int64]


class Reading(NamedTuple):
    """Input arrays of examples, and ``cut``, bool ``(examples,)``: whether some of an example's code is not in them."""

    inputs: Inputs
    cut: NDArray[np.bool_]


def padded(
    tokens: NDArray[np.int32], lengths: NDArray[np.integer], seconds: NDArray[np.integer], padding: int
) -> Inputs:
    """Input arrays of token sequences, padded to the longest of them.

    Args:
        tokens: ids of all sequences, end to end.
        lengths: tokens of each sequence, ``(rows,)``.
        seconds: position in each sequence at which the second side of its pair begins, ``(rows,)``.
        padding: id of the padding token.
    """
    positions = np.arange(lengths.max())
    mask = positions < lengths[:, None]
    input_ids = np.full(mask.shape, padding, dtype=np.int64)
    input_ids[mask] = tokens
    second = (positions >= seconds[:, None]) & mask
    return Inputs(input_ids, mask.astype(np.int64), second.astype(np.int64))
