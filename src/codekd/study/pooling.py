"""Choice of the pooling that suits the examples of a task. Light: config models use it."""

from typing import Literal

from codekd.errors import CodekdError

Shape = Literal["code", "hole", "pair"]
"""Shape of an example: a piece of code, a piece of code with a ``__HOLE__``, or a pair of pieces."""


def resolve_pooling(what: str, pooling: str, shape: Shape, plain: str) -> str:
    """Pooling of a teacher or student on examples of a shape.

    Args:
        what: kind of the model, for messages.
        pooling: pooling in the config; ``auto`` for ``plain``, ``hole`` or ``pair``, as the shape needs.
        shape: shape of the examples.
        plain: the model's pooling of a piece of code.

    Raises:
        CodekdError: the pooling is for another shape.
    """
    if pooling in ("hole", "pair") and pooling != shape:
        needs = "a __HOLE__" if pooling == "hole" else "pairs"
        raise CodekdError(f"{what}: pooling {pooling!r} on a task without {needs}: write 'auto' or {plain!r}")
    if pooling != "auto":
        return pooling
    return plain if shape == "code" else shape
