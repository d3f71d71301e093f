"""The order in which examples are made that nobody wrote."""

from collections import Counter
from collections.abc import Iterable
from typing import TypeVar

from codekd.data.hashing import digest

Function = tuple[str, str]
"""Package and code."""

Texts = TypeVar("Texts", bound=tuple[str, ...])


def in_turns(functions: Iterable[Texts]) -> list[Texts]:
    """Different functions, or pairs of them, each after its package, drawn by hash so that packages take turns.

    So no package outweighs the others as long as these have functions left.
    """
    drawn = sorted(set(functions), key=lambda function: digest("made", *function))
    turns: Counter[str] = Counter()
    turn: dict[Texts, int] = {}
    for function in drawn:
        turn[function] = turns[function[0]]
        turns[function[0]] += 1
    return sorted(drawn, key=turn.__getitem__)
