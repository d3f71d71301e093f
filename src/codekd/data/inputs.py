"""The arrays that a model reads."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Inputs(NamedTuple):
    """What a model reads, right-padded, all int64 ``(rows, length)``; a row is an example, or one side of a pair.

    ``attention_mask`` is 0 at padding, and ``token_type_ids`` are 1 on the second side of a pair.
    """

    input_ids: NDArray[np.int64]
    attention_mask: NDArray[np.int64]
    token_type_ids: NDArray[np.int64]


class Reading(NamedTuple):
    """What a model reads of examples, and of which of them it does not see all: ``cut`` ``(examples,)``."""

    inputs: Inputs
    cut: NDArray[np.bool_]


def padded(
    tokens: NDArray[np.int32], lengths: NDArray[np.integer], seconds: NDArray[np.integer], padding: int
) -> Inputs:
    """Rows of ``lengths`` ``(rows,)`` whose tokens follow each other, padded to the longest of them.

    The second side of a row's pair begins at its place in ``seconds`` ``(rows,)``.
    """
    positions = np.arange(lengths.max())
    mask = positions < lengths[:, None]
    input_ids = np.full(mask.shape, padding, dtype=np.int64)
    input_ids[mask] = tokens
    second = (positions >= seconds[:, None]) & mask
    return Inputs(input_ids, mask.astype(np.int64), second.astype(np.int64))
