"""From the states of a sequence to one vector. Light: the sizes of signals are planned with it."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from codekd.errors import CodekdError

if TYPE_CHECKING:
    from torch import Tensor


def check_pooling(how: str, allowed: tuple[str, ...], hole_token_id: int | None) -> None:
    """Refuse a pooling that a model does not know, or one at the hole where the tokenizer has none.

    Raises:
        CodekdError: with the poolings that would do.
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
    """One vector per example from ``states`` ``(batch, length, width)``: ``(batch, pooled_width(width, how))``.

    ``first`` is the state of the first token, ``mean`` the mean over the real tokens and ``max`` the largest value
    of each dimension among them, ``hole`` the state at the first ``__HOLE__``; an example without a hole falls back
    to ``first``. ``pair`` compares the means ``u`` and ``v`` of the two sides of a pair, which ``token_type_ids`` tell
    apart, as ``[|u - v|, u v]`` (after Reimers and Gurevych 2019, arXiv 1908.10084, without the sides themselves: it
    does not matter which comes first).
    ``input_ids``, ``attention_mask`` and ``token_type_ids`` are ``(batch, length)``, padded on the right.

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
    """The width of what ``pool`` makes of states of a width."""
    return 2 * width if how == "pair" else width


def row_pooling(how: str, sides_apart: bool) -> str:
    """How a row is pooled: each side of a ``pair`` that is a row of its own by its mean."""
    return "mean" if sides_apart and how == "pair" else how


def by_example(rows: Tensor, sides_apart: bool) -> Tensor:
    """Pooled rows by example: where each side of a pair is a row of its own, both sides compared."""
    return compared(*sides(rows)) if sides_apart else rows


def sides(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The two sides ``(batch, width)`` of pairs, of rows ``(2 batch, width)`` where they take turns."""
    first, second = rows.unflatten(0, (-1, 2)).unbind(1)
    return first, second


def compared(first: Tensor, second: Tensor) -> Tensor:
    """``[|u - v|, u v]`` ``(..., 2 width)`` of the vectors ``u`` and ``v`` of two sides, both ``(..., width)``."""
    from torch import cat

    return cat([(first - second).abs(), first * second], dim=-1)


def first_hole(input_ids: Tensor, hole_token_id: int) -> Tensor:
    """The position ``(rows,)`` of the first hole in ``input_ids`` ``(rows, length)``, 0 where there is none."""
    # argmax gives the first of equal values.
    return input_ids.eq(hole_token_id).int().argmax(1)


def state_at(states: Tensor, positions: Tensor) -> Tensor:
    """States ``(batch, width)`` at one position ``(batch,)`` per example of ``states`` ``(batch, length, width)``."""
    return states.gather(1, positions[:, None, None].expand(-1, 1, states.shape[2]))[:, 0]


def _mean(states: Tensor, mask: Tensor) -> Tensor:
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1).clamp(min=1)
