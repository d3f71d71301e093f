"""Nodes of earlier source, taken over after a change of which its author says that it has no effect."""

import os
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from codekd.errors import CodekdError
from codekd.study.claim import claimed
from codekd.study.estimate import missing
from codekd.study.explain import CODE_OF, changes, described, siblings
from codekd.study.graph import Graph, Node
from codekd.study.job import scratch_folder
from codekd.study.manifest import MANIFEST, write_manifest, wrong_files


@dataclass(frozen=True)
class Declaration:
    """Who says of which modules that their change has no effect, and why."""

    modules: Collection[str]
    by: str
    reason: str


def accept(graph: Graph, results: Path, declared: Declaration) -> list[Node]:
    """Take over the missing nodes that differ from finished ones in nothing else; parents come before children.

    Raises:
        CodekdError: a module has not changed for any missing node, or a file to take over is not what was written.
    """
    successors: dict[str, str] = {}
    accepted: list[Node] = []
    changed: set[str] = set()
    for node in missing(graph, results):
        for folder, manifest in siblings(node, results):
            modules = _harmless(manifest, node, successors, changed)
            if modules is not None and modules <= set(declared.modules):
                _take_over(node, results, folder, manifest, declared, modules)
                successors[manifest["identity"]] = node.identity
                accepted.append(node)
                break
    if unchanged := sorted(set(declared.modules) - changed):
        raise CodekdError(f"{unchanged[0]} is no module whose change makes a node again; `codekd explain` names those.")
    return accepted


def _harmless(manifest: dict[str, Any], node: Node, successors: dict[str, str], changed: set[str]) -> set[str] | None:
    """The modules that changed, where nothing else did but parents that were taken over; else None."""
    modules: set[str] = set()
    other = False
    for change in changes(manifest, described(node)):
        if change.what.startswith(CODE_OF):
            modules.add(change.what.removeprefix(CODE_OF))
        elif successors.get(change.old) != change.new:
            other = True
    changed |= modules
    return None if other else modules


def _take_over(
    node: Node, results: Path, folder: Path, manifest: dict[str, Any], declared: Declaration, modules: set[str]
) -> None:
    for path in wrong_files(folder, manifest):
        raise CodekdError(f"{path} is not what was written there; delete {folder}.")
    record = {"from": manifest["identity"], "modules": sorted(modules), "by": declared.by, "reason": declared.reason}
    record["when"] = datetime.now(UTC).isoformat(timespec="seconds")
    target = results / node.folder
    with claimed(results, node.name):
        work = scratch_folder(results, node.name) / "output"
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(folder, work, copy_function=_link, ignore=shutil.ignore_patterns(MANIFEST))
        new = {**manifest, "identity": node.identity, "code": node.code, "entries": list(node.entries)}
        new |= {key: value for key, value in described(node).items() if key != "spec"}
        new["accepted"] = [*manifest.get("accepted", []), record]
        write_manifest(work, new)
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        work.replace(target)
        shutil.rmtree(work.parent)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
