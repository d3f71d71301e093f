"""Which pooling suits which task. Light: config models use it."""

from typing import Literal

from codekd.errors import CodekdError

Shape = Literal["code", "hole", "pair"]
"""What an example is: a piece of code, one with a ``__HOLE__``, or a pair."""


def resolve_pooling(what: str, pooling: str, shape: Shape, plain: str) -> str:
    """The pooling of a teacher or student on examples of a shape; ``auto`` is ``plain`` for a piece of code.

    Raises:
        CodekdError: the pooling is for another shape.
    """
    if pooling in ("hole", "pair") and pooling != shape:
        needs = "a __HOLE__" if pooling == "hole" else "pairs"
        raise CodekdError(f"{what}: pooling {pooling!r} on a task without {needs}: write 'auto' or {plain!r}")
    if pooling != "auto":
        return pooling
    return plain if shape == "code" else shape
