"""Pairs of clone detection that nobody wrote: functions with their renamed selves, and with further neighbours."""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from codekd.data.functions import parse
from codekd.data.hashing import number
from codekd.data.tasks._made import in_turns
from codekd.data.tokens import code_tokens
from codekd.progress import track

LOCAL = re.compile(r"^ +(?:for )?(\w+) (?:=|in) ", re.MULTILINE)
"""A local name where it gets its value, in the layout of ``ast.unparse``."""

RESERVED = {"self", "cls"}
ATTEMPTS = 20

Pair = tuple[str, str, str]
"""Package, and two functions as bare code."""


def made_pairs(clones: Iterable[Pair], different: Iterable[Pair]) -> Iterator[tuple[Pair, str]]:
    """Likely clones and pairs that are likely different in turns, with ``renamed`` or ``neighbour``.

    ``clones`` are pairs of releases, of which each is renamed once.
    """
    both = [pair for package, old, new in clones for pair in ((package, old, new), (package, new, old))]
    names: dict[str, list[str]] = {}
    for package, first, _ in both:
        names.setdefault(package, []).extend(LOCAL.findall(first))
    for (package, first, second), other in track(
        list(zip(in_turns(both), in_turns(different), strict=False)), description="making pairs", unit="pair"
    ):
        if (text := renamed(second, names[package])) != second:
            yield (package, first, text), "renamed"
            yield other, "neighbour"


def renamed(code: str, names: Sequence[str]) -> str:
    """A function in the layout of ``ast.unparse`` with other ``names``, drawn by hash, for its arguments and variables.

    A name for which no unused one is drawn stays.
    """
    module = parse(code)
    nodes = list(ast.walk(module))
    kept = RESERVED | {name for node in nodes if isinstance(node, ast.Global | ast.Nonlocal) for name in node.names}
    own = [node.arg for node in nodes if isinstance(node, ast.arg)]
    own += [node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    taken = set(code_tokens(code))
    new: dict[str, str] = {}
    for name in dict.fromkeys(own):
        drawn = (names[number(str(attempt), name, code) % len(names)] for attempt in range(ATTEMPTS if names else 0))
        if name not in kept and (other := next((other for other in drawn if other not in taken), None)):
            new[name] = other
            taken.add(other)
    return ast.unparse(_Renamed(new).visit(module)) if new else code


class _Renamed(ast.NodeTransformer):
    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.arg = self._names.get(node.arg, node.arg)
        return node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = self._names.get(node.id, node.id)
        return node
