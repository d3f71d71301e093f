"""From the states of a sequence to one vector."""

from __future__ import annotations

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


def pool(states: Tensor, input_ids: Tensor, attention_mask: Tensor, how: str, hole_token_id: int | None) -> Tensor:
    """One state per example, ``(batch, width)``, from ``states`` ``(batch, length, width)``.

    ``first`` is the state of the first token, ``mean`` the mean over the real tokens, ``hole`` the state at
    the first ``__HOLE__``; an example without a hole falls back to ``first``. ``input_ids`` and
    ``attention_mask`` are ``(batch, length)``, padded on the right.
    """
    if how == "mean":
        mask = attention_mask.unsqueeze(-1).to(states.dtype)
        return (states * mask).sum(1) / mask.sum(1).clamp(min=1)
    if how == "hole" and hole_token_id is not None:
        # argmax gives the first of equal values: the first hole, or position 0 where there is none.
        return state_at(states, (input_ids == hole_token_id).int().argmax(1))
    return states[:, 0]


def state_at(states: Tensor, positions: Tensor) -> Tensor:
    """States ``(batch, width)`` at one position ``(batch,)`` per example of ``(batch, length, width)``."""
    return states.take_along_dim(positions[:, None, None], dim=1).squeeze(1)
