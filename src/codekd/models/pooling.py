"""Pooling of a sequence's states into one vector. Imports nothing heavy: the sizes of signals are planned with it.

Shapes:
    rows: sequences that a model reads: one an example, or two where the sides of a pair are encoded apart.
    length: tokens of the longest row; other rows are padded on the right.
    width: that of a state; ``pair`` makes vectors of twice that width.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from codekd.errors import CodekdError

if TYPE_CHECKING:
    from torch import Tensor


def check_pooling(how: str, allowed: tuple[str, ...], hole_token_id: int | None) -> None:
    """Raise an error for a pooling that a model does not know, or one at the hole where the tokenizer has none.

    Args:
        how: name of the pooling.
        allowed: poolings that the model knows.
        hole_token_id: id of ``__HOLE__``, None if the tokenizer has none.

    Raises:
        CodekdError: such a pooling; the message names those that would do.
    """
    if how not in allowed:
        raise CodekdError(f"pooling {how!r} is unknown to this model: choose one of {', '.join(allowed)}")
    if how == "hole" and hole_token_id is None:
        others = ", ".join(name for name in allowed if name != "hole")
        raise CodekdError(f"pooling 'hole' needs a tokenizer with the token __HOLE__: add it, or choose {others}")


def pool(
    states: Tensor,
    input_ids: Tensor,
    attention_mask: Tensor,
    how: str,
    hole_token_id: int | None = None,
    token_type_ids: Tensor | None = None,
) -> Tensor:
    """Pool ``states`` into one vector a row, ``(rows, pooled_width(width, how))``.

    Args:
        states: ``(rows, length, width)``.
        input_ids: token ids, ``(rows, length)``; read by ``hole`` alone.
        attention_mask: ``(rows, length)``, 1 at tokens and 0 at padding.
        how: ``first``, the state of the first token; ``mean``, the mean over the real tokens; ``max``, the largest
            value of each dimension among them; ``hole``, the state at the first ``__HOLE__``, or in a row without one
            the first state; ``pair``, ``[|u - v|, u v]`` of the means ``u`` and ``v`` of the two sides of a pair (after
            Reimers and Gurevych 2019, arXiv 1908.10084, without the sides themselves: it does not matter which comes
            first).
        hole_token_id: id of ``__HOLE__``; needed by ``hole``.
        token_type_ids: side of a pair, 0 or 1, of every token, ``(rows, length)``; needed by ``pair``.

    Raises:
        CodekdError: ``pair`` without ``token_type_ids``.
    """
    if how == "mean":
        return _mean(states, attention_mask)
    if how == "max":
        return states.masked_fill(~attention_mask.unsqueeze(-1).bool(), -inf).amax(1)
    if how == "hole":
        assert hole_token_id is not None, "models refuse it by check_pooling"
        return state_at(states, first_hole(input_ids, hole_token_id))
    if how == "pair":
        if token_type_ids is None:
            raise CodekdError("pooling 'pair' needs token_type_ids: 0 for the first side of a pair, 1 for the second")
        return compared(*(_mean(states, attention_mask * (token_type_ids == side)) for side in (0, 1)))
    return states[:, 0]


def pooled_width(width: int, how: str) -> int:
    """Width of the vectors that :func:`pool` makes of states of a ``width``."""
    return 2 * width if how == "pair" else width


def row_pooling(how: str, sides_apart: bool) -> str:
    """Pooling of a row: ``mean`` for a side of a ``pair`` that is a row of its own, else ``how``."""
    return "mean" if sides_apart and how == "pair" else how


def by_example(rows: Tensor, sides_apart: bool) -> Tensor:
    """Pooled vectors of examples, from those of ``rows``: sides of a pair that are rows of their own are compared."""
    return compared(*sides(rows)) if sides_apart else rows


def sides(rows: Tensor) -> tuple[Tensor, Tensor]:
    """First and second sides of pairs, both ``(batch, width)``, from rows ``(2 batch, width)`` in turns."""
    first, second = rows.unflatten(0, (-1, 2)).unbind(1)
    return first, second


def compared(first: Tensor, second: Tensor) -> Tensor:
    """Comparison ``[|u - v|, u v]``, ``(..., 2 width)``, of two sides' vectors ``u`` and ``v`` ``(..., width)``."""
    from torch import cat

    return cat([(first - second).abs(), first * second], dim=-1)


def first_hole(input_ids: Tensor, hole_token_id: int) -> Tensor:
    """Position ``(rows,)`` of the first hole in ``input_ids`` ``(rows, length)``, 0 where there is none."""
    # Of equal values argmax gives the first.
    return input_ids.eq(hole_token_id).int().argmax(1)


def state_at(states: Tensor, positions: Tensor) -> Tensor:
    """State of each row at one position, ``(rows, width)``.

    Args:
        states: ``(rows, length, width)``.
        positions: one per row, ``(rows,)`` int64.
    """
    return states.gather(1, positions[:, None, None].expand(-1, 1, states.shape[2]))[:, 0]


def _mean(states: Tensor, mask: Tensor) -> Tensor:
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1).clamp(min=1)
