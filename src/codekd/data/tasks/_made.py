"""Order of the functions that synthetic examples are made from."""

from collections import Counter
from collections.abc import Iterable
from typing import TypeVar

from codekd.data.hashing import digest

Function = tuple[str, str]
"""Package and code of a function."""

Texts = TypeVar("Texts", bound=tuple[str, ...])


def in_turns(functions: Iterable[Texts]) -> list[Texts]:
    """Distinct functions, or pairs of them, in an order drawn by hash in which packages take turns.

    So no package outweighs the others as long as these have functions left.

    Args:
        functions: tuples that begin with the package.
    """
    drawn = sorted(set(functions), key=lambda function: digest("made", *function))
    turns: Counter[str] = Counter()
    turn: dict[Texts, int] = {}
    for function in drawn:
        turn[function] = turns[function[0]]
        turns[function[0]] += 1
    return sorted(drawn, key=turn.__getitem__)
