"""Acceptance of results of earlier source after a change that its author declares to be without effect."""

import os
import shutil
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codekd.errors import CodekdError
from codekd.study.claim import claimed
from codekd.study.explain import CODE_OF, Change, changes, described, siblings
from codekd.study.folders import empty
from codekd.study.graph import Graph, Node
from codekd.study.job import scratch_folder
from codekd.study.manifest import MANIFEST, check_files, publish, read_manifest, timestamp


@dataclass(frozen=True)
class Declaration:
    """Statement of a user that changes of some modules have no effect on results.

    ``modules`` are full names such as ``codekd.training.loop``, ``by`` is the user, and ``reason`` says why.
    """

    modules: Collection[str]
    by: str
    reason: str


def accept(graph: Graph, results: Path, declared: Declaration) -> list[Node]:
    """Take over finished nodes of earlier source for missing nodes that differ from them in declared modules alone.

    Args:
        graph: the study.
        results: the results folder.
        declared: the modules whose changes have no effect.

    Returns:
        The nodes that were missing and no longer are, parents before children.

    Raises:
        CodekdError: a module has not changed for any missing node, or a file to take over is not what was written.
    """
    same: set[tuple[str, str]] = set()  # (identity of earlier source, identity that takes its place)
    accepted: list[Node] = []
    changed: set[str] = set()
    for node in graph:
        new, path = described(node), results / node.folder
        finished = (path / MANIFEST).exists()
        without_effect = set(declared.modules)
        if finished:
            without_effect.update(*(record["modules"] for record in read_manifest(path).get("accepted", [])))
        equal = []
        for folder, manifest in siblings(node, results):
            modules, others = _sorted(changes(manifest, new), same)
            changed |= set() if finished else modules
            if not others and modules <= without_effect:
                equal.append((folder, manifest, modules))
        # Any of several equal nodes may be the parent of a child that can be taken over.
        same |= {(manifest["identity"], node.identity) for _, manifest, _ in equal}
        if equal and not finished:
            _take_over(node, results, *equal[0], declared)
            accepted.append(node)
    if unchanged := sorted(set(declared.modules) - changed):
        raise CodekdError(f"{unchanged[0]} is no module whose change makes a node again; `codekd explain` names those.")
    return accepted


def _sorted(found: Iterable[Change], same: Collection[tuple[str, str]]) -> tuple[set[str], list[Change]]:
    """Changed modules, and other changes except parents of which the new one takes the place of the old one."""
    modules = {one.what.removeprefix(CODE_OF) for one in found if one.what.startswith(CODE_OF)}
    others = [one for one in found if not one.what.startswith(CODE_OF) and (one.old, one.new) not in same]
    return modules, others


def _take_over(
    node: Node, results: Path, folder: Path, manifest: dict[str, Any], modules: set[str], declared: Declaration
) -> None:
    check_files(folder, manifest)
    record = {"from": manifest["identity"], "modules": sorted(modules), "by": declared.by, "reason": declared.reason}
    new = {**manifest, "identity": node.identity, "code": node.code, "entries": list(node.entries)}
    new |= described(node)
    new["accepted"] = [*manifest.get("accepted", []), record | {"when": timestamp(time.time())}]
    with claimed(results, node.name):
        work = empty(scratch_folder(results, node.name) / "output")
        shutil.copytree(folder, work, copy_function=_link, ignore=shutil.ignore_patterns(MANIFEST), dirs_exist_ok=True)
        publish(work, results / node.folder, new)
        shutil.rmtree(work.parent)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
