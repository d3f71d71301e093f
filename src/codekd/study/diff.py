"""Differences between two nodes or two studies: config, source, libraries, machines and scores."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codekd.study.explain import changes, described
from codekd.study.graph import Graph, Node
from codekd.study.manifest import manifest_if_finished, read_manifest
from codekd.study.text import Row, aligned


def of_nodes(first: Path, second: Path) -> str:
    """Differences between two nodes of the same stage as text: inputs, source, libraries, processor units and scores.

    Args:
        first: folder of a finished node.
        second: folder of another one.

    Raises:
        CodekdError: a folder is not that of a finished node.
    """
    old, new = (read_manifest(folder) for folder in (first, second))
    lines = [str(change) for change in changes(old, new)]
    there, here = (_circumstances(one) for one in (old, new))
    lines += [f"{name}: {there.get(name)} -> {found}" for name, found in here.items() if there.get(name) != found]
    before, after = (dict(_scores(one["summary"])) for one in (old, new))
    rows = [(name, before.get(name), after.get(name)) for name in dict.fromkeys((*before, *after))]
    return _text(lines or ["made from the same"], "score", rows)


def of_studies(first: Graph, second: Graph, results: Path) -> str:
    """Differences between two studies as text: nodes of one alone, and nodes that differ, with reasons and test scores.

    Args:
        first: graph of a study.
        second: graph of another one.
        results: the results folder, from which test scores are read where nodes are finished.
    """
    old, new = ({node.path: node for node in graph} for graph in (first, second))
    lines = [f"only in the first: {path}" for path in old if path not in new]
    lines += [f"only in the second: {path}" for path in new if path not in old]
    both = [(old[path], new[path]) for path in old if path in new]
    differing = [(one, other) for one, other in both if one.identity != other.identity]
    for one, other in differing:
        lines.append(f"{one.path}: {'; '.join(map(str, changes(described(one), described(other))))}")
    lines.append(f"{len(both) - len(differing)} nodes are the same.")
    rows = [
        (one.path, _test_score(one, results), _test_score(other, results))
        for one, other in differing
        if one.stage in ("students", "teachers")
    ]
    return _text(lines, "test score", rows)


def _circumstances(manifest: Mapping[str, Any]) -> dict[str, str | None]:
    """Circumstances outside of identities that can change the last digits of a score, or the outcome of a training."""
    return {
        **{f"version of {name}": version for name, version in manifest["versions"].items()},
        **{name: manifest["summary"].get(name) for name in ("device", "precision")},
        "units of the processor": " ".join(manifest["host"].get("units", ())),
    }


def _test_score(node: Node, results: Path) -> float | None:
    manifest = manifest_if_finished(results / node.folder)
    return None if manifest is None else manifest["summary"]["scores"]["test"][manifest["summary"]["metric"]]


def _scores(summary: Mapping[str, Any]) -> Sequence[tuple[str, float]]:
    scores = summary.get("scores", {})
    return [(f"{split} {metric}", value) for split, found in scores.items() for metric, value in found.items()]


def _text(lines: Sequence[str], title: str, scores: Sequence[tuple[str, float | None, float | None]]) -> str:
    """Lines, and under them a table of scores: name, first, second and difference."""
    if not scores:
        return "\n".join(lines)
    rows: list[Row] = [(title, "first", "second", "difference")]
    for name, old, new in scores:
        shown = ["-" if one is None else f"{one:.4f}" for one in (old, new)]
        rows.append((name, *shown, "" if old is None or new is None else f"{new - old:+.4f}"))
    return "\n".join([*lines, "", *aligned(rows)])
