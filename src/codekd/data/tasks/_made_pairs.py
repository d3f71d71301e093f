"""Synthetic pairs for clone detection: functions with renamed copies of themselves, and with further neighbours."""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from codekd.data.functions import parse
from codekd.data.hashing import number
from codekd.data.tasks._made import in_turns
from codekd.data.tokens import code_tokens
from codekd.progress import track

LOCAL = re.compile(r"^ +(?:for )?(\w+) (?:=|in) ", re.MULTILINE)
"""Pattern of a local name where it is assigned, in the layout of ``ast.unparse``."""

RESERVED = {"self", "cls"}
ATTEMPTS = 20

Pair = tuple[str, str, str]
"""Package, and the bare code of two functions."""


def made_pairs(clones: Iterable[Pair], different: Iterable[Pair]) -> Iterator[tuple[Pair, str]]:
    """Synthetic pairs with their type: likely clones (``renamed``) and likely different ones (``neighbour``) in turns.

    Args:
        clones: pairs of two releases of a function, of which each is renamed once.
        different: pairs of functions of different names.
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
    """Rename the arguments and variables of a function.

    Args:
        code: function in the layout of ``ast.unparse``.
        names: names to draw from by hash; where only used ones are drawn, the old name stays.
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
