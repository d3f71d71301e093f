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
