"""What differs between two cells or two studies: the config, the source, and the scores."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codekd.study.explain import changes, described
from codekd.study.graph import Graph, Node
from codekd.study.manifest import MANIFEST, read_manifest
from codekd.study.text import Row, aligned


def of_nodes(first: Path, second: Path) -> str:
    """Two nodes of the same stage: what they were made from, with which libraries, and what they reached."""
    old, new = (read_manifest(folder) for folder in (first, second))
    lines = [str(change) for change in changes(old, new)]
    versions = {name: (old["versions"].get(name), version) for name, version in new["versions"].items()}
    lines += [
        f"version of {name}: {before} -> {after}" for name, (before, after) in versions.items() if before != after
    ]
    scores = [dict(_scores(one["summary"])) for one in (old, new)]
    rows: list[Row] = [("score", "first", "second", "difference")]
    for name in dict.fromkeys((*scores[0], *scores[1])):
        rows.append((name, *_compared(*(one.get(name) for one in scores))))
    return "\n".join([*(lines or ["made from the same"]), "", *(aligned(rows) if len(rows) > 1 else [])]).rstrip()


def of_studies(first: Graph, second: Graph, results: Path) -> str:
    """Two studies: nodes that one has alone, and those of the same name that differ, with why and the test scores."""
    old, new = ({_name(node): node for node in graph} for graph in (first, second))
    lines = [f"only in the first: {name}" for name in old if name not in new]
    lines += [f"only in the second: {name}" for name in new if name not in old]
    differing = [name for name in old if name in new and old[name].identity != new[name].identity]
    for name in differing:
        reasons = changes(described(old[name]), described(new[name]))
        lines.append(f"{name}: {'; '.join(map(str, reasons))}")
    rows: list[Row] = [("test score", "first", "second", "difference")]
    for name in differing:
        found = [_test_score(one[name], results) for one in (old, new)]
        if old[name].stage in ("students", "teachers"):
            rows.append((name, *_compared(*found)))
    same = sum(name in new and old[name].identity == new[name].identity for name in old)
    lines.append(f"{same} nodes are the same.")
    return "\n".join([*lines, "", *(aligned(rows) if len(rows) > 1 else [])]).rstrip()


def _name(node: Node) -> str:
    return "/".join((node.stage, *node.coordinates))


def _test_score(node: Node, results: Path) -> float | None:
    folder = results / node.folder
    if not (folder / MANIFEST).exists():
        return None
    summary = read_manifest(folder)["summary"]
    return summary["scores"]["test"][summary["metric"]]


def _scores(summary: Mapping[str, Any]) -> Sequence[tuple[str, float]]:
    scores = summary.get("scores", {})
    return [(f"{split} {metric}", value) for split, found in scores.items() for metric, value in found.items()]


def _compared(old: float | None, new: float | None) -> tuple[str, str, str]:
    shown = ["-" if one is None else f"{one:.4f}" for one in (old, new)]
    return shown[0], shown[1], "" if old is None or new is None else f"{new - old:+.4f}"
