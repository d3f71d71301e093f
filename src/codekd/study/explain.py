"""Reasons why nodes would be made: their differences from the most similar finished node of the same name."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codekd.study.canonical import canonical
from codekd.study.defaults import with_defaults
from codekd.study.estimate import in_time, missing, seconds
from codekd.study.graph import Graph, Node
from codekd.study.identity import module_digests
from codekd.study.manifest import MANIFEST, read_manifest
from codekd.study.named import named
from codekd.study.rates import WITH_BF16, Rates, measured

NOTHING = "-"
CODE_OF = "code of "


@dataclass(frozen=True)
class Change:
    """Difference between two nodes in a value of the spec, a module or a parent; None where one of them lacks it."""

    what: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.what}: {_short(self.old)} -> {_short(self.new)}"


@dataclass(frozen=True)
class Explanation:
    """Explanation of why a node would be made.

    ``sibling`` is the folder of the most similar finished node with the same stage and coordinates, if there is one,
    ``changes`` are the differences from it, and ``seconds`` is the time of one core.
    """

    node: Node
    sibling: Path | None
    changes: tuple[Change, ...]
    seconds: float

    @property
    def name(self) -> str:
        """Stage and coordinates of the node."""
        return self.node.path


def explain(graph: Graph, results: Path, targets: Sequence[str] = ()) -> list[Explanation]:
    """Explanations of the missing nodes, parents before children.

    Args:
        graph: the study.
        results: the results folder.
        targets: names of the nodes to explain, as :func:`codekd.study.named.named` takes them; all by default.

    Raises:
        CodekdError: a target names no node of the study.
    """
    wanted = {node.path for node in named(graph, results, targets)}
    rates = measured(results) or WITH_BF16
    return [_explanation(one, results, rates) for one in missing(graph, results) if one.path in wanted]


def as_text(found: Sequence[Explanation]) -> str:
    """Explanations as text for people; nodes that changed for the same reasons stand together."""
    if not found:
        return "Nothing would run."
    groups: dict[tuple[str, ...], list[Explanation]] = {}
    for one in found:
        groups.setdefault(tuple(map(str, one.changes)) or (_without_changes(one),), []).append(one)
    lines = []
    for reasons, nodes in groups.items():
        time = in_time(sum(one.seconds for one in nodes))
        lines += [*reasons, f"  {len(nodes)} to make, about {time} of one core:"]
        lines += [f"    {one.name}" for one in nodes]
    total = in_time(sum(one.seconds for one in found))
    return "\n".join([*lines, f"{len(found)} nodes would run, about {total} of one core."])


def as_json(found: Sequence[Explanation]) -> str:
    """Explanations as JSON for programs: a list of objects."""
    return json.dumps(
        [
            {
                "node": one.name,
                "folder": str(one.node.folder),
                "sibling": None if one.sibling is None else str(one.sibling),
                "changes": [{"what": change.what, "old": change.old, "new": change.new} for change in one.changes],
                "seconds": round(one.seconds, 1),
            }
            for one in found
        ],
        indent=1,
    )


def described(node: Node) -> dict[str, Any]:
    """The entries ``spec``, ``modules`` and ``parents`` that the manifest of a node is going to have."""
    identities = {role: parent.identity for role, parent in node.parents.items()}
    identities |= {role: file.sha256 for role, file in node.files.items()}
    spec = json.loads(canonical(node.spec))
    return {"spec": spec, "modules": module_digests(node.entries), "parents": identities}


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Change, ...]:
    """Differences between two manifests: values of the spec with its defaults, modules, parents and files."""
    pairs = [
        ("", dict(_flat(with_defaults(old["spec"]))), dict(_flat(with_defaults(new["spec"])))),
        (CODE_OF, old.get("modules", {}), new["modules"]),
        ("", old["parents"], new["parents"]),
    ]
    return tuple(
        Change(prefix + key, before.get(key), after.get(key))
        for prefix, before, after in pairs
        for key in dict.fromkeys((*before, *after))
        if before.get(key) != after.get(key)
    )


def siblings(node: Node, results: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Folders and manifests of the finished nodes with the same stage and coordinates, the newest first."""
    folder = results / node.folder.parent
    found = [path.parent for path in folder.glob(f"{node.coordinates[-1]}-{'?' * len(node.identity)}/{MANIFEST}")]
    known = [(path, read_manifest(path)) for path in found]
    return sorted(known, key=lambda one: one[1]["finished"], reverse=True)


def _explanation(node: Node, results: Path, rates: Rates) -> Explanation:
    new = described(node)
    compared = [
        Explanation(node, folder, changes(manifest, new), manifest["seconds"])
        for folder, manifest in siblings(node, results)
    ]
    if not compared:
        return Explanation(node, None, (), seconds(node, results, rates))
    return min(compared, key=lambda one: len(one.changes))


def _flat(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested mappings with their dotted names."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{place}.{key}" if place else str(key))
    else:
        yield place, value


def _short(value: Any) -> str:
    text = NOTHING if value is None else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _without_changes(one: Explanation) -> str:
    return "new" if one.sibling is None else "equal to what is there but for source of another version"
