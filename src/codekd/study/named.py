"""Lookup of a study's nodes by names and patterns that users write."""

import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from codekd.errors import CodekdError
from codekd.study.graph import Graph, Node

PATTERN = frozenset("*?[")


def named(graph: Graph, results: Path, names: Sequence[str]) -> list[Node]:
    """Nodes to which one of the names applies, parents before children; all nodes if there are no names.

    A name is the beginning of stage and coordinates, or of a node's folder; or a pattern of them, such as
    ``students/*/kd/seed1``, in which ``*`` matches slashes, too.

    Raises:
        CodekdError: a name applies to no node.
    """
    found: set[str] = set()
    for name in names:
        wanted = os.path.normpath(name).removeprefix(f"{results}/") + "/" * name.endswith("/")
        called = {node.path for node in graph if _is_called(node, wanted)}
        if not called:
            stages = ", ".join(dict.fromkeys(node.stage for node in graph))
            raise CodekdError(
                f"no node of the study is called {name}: write a stage ({stages}), and as much as you like of what "
                "follows it in the results"
            )
        found |= called
    return [node for node in graph if not names or node.path in found]


def _is_called(node: Node, wanted: str) -> bool:
    if PATTERN.intersection(wanted):
        return fnmatchcase(node.path, wanted) or fnmatchcase(str(node.folder), wanted)
    return f"{node.path}/".startswith(wanted) or str(node.folder).startswith(wanted)
