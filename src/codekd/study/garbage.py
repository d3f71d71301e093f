"""Garbage collection: folders of nodes that no study needs, which are found, and deleted on request."""

import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from codekd.study.claim import exclusive, running
from codekd.study.folders import BESIDE, identity_of, node_folders
from codekd.study.graph import Graph
from codekd.study.job import JOBS, SCRATCH
from codekd.study.manifest import MANIFEST
from codekd.study.ran import records
from codekd.study.sizes import in_bytes
from codekd.study.text import aligned


@dataclass(frozen=True)
class Garbage:
    """Folder of a node, or of an unfinished run of one, that no study needs, with its size in bytes."""

    folder: Path
    size: int


def garbage(results: Path, graphs: Iterable[Graph], forget: bool = False) -> list[Garbage]:
    """Folders that neither the given studies, nor those that ran here, nor running studies and jobs need.

    Args:
        results: the results folder.
        graphs: the studies whose nodes are kept.
        forget: whether nodes that only other studies that ran here need are garbage, too.
    """
    kept = {node.identity for graph in graphs for node in graph} | running(results)
    if not forget:
        kept.update(*(one.nodes for one in records(results)))
    folders = [*node_folders(results), *sorted((results / SCRATCH).glob("*/"))]
    return [Garbage(folder, _size(folder)) for folder in folders if identity_of(folder) not in kept]


def remove(results: Path, graphs: Sequence[Graph], forget: bool = False) -> list[Garbage]:
    """Delete the garbage, with its logs, timings and jobs, and return it; no study can start meanwhile.

    Args:
        results: the results folder.
        graphs: the studies whose nodes are kept.
        forget: whether other studies that ran here are forgotten: their records and nodes are deleted, too.
    """
    with exclusive(results):
        found = garbage(results, graphs, forget)
        if forget:
            names = {graph.report.coordinates[0] for graph in graphs}
            for study in records(results):
                if study.name not in names:
                    study.path.unlink()
        gone = {identity_of(one.folder) for one in found}
        for job in (results / JOBS).glob("*.json"):
            if identity_of(job) in gone:
                job.unlink()
        for one in found:
            # Without its manifest a node does not count as done, even if the deletion is interrupted.
            (one.folder / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(one.folder)
            for beside in BESIDE:
                for path in (results / beside).glob(f"{one.folder.relative_to(results)}.*"):
                    path.unlink()
    return found


def as_text(found: Sequence[Garbage], results: Path, removed: bool) -> str:
    """Table of the garbage by stage, and a sentence with its total size."""
    if not found:
        return "Nothing to remove."
    counts: Counter[str] = Counter()
    sizes: dict[str, int] = defaultdict(int)
    for one in found:
        stage = one.folder.relative_to(results).parts[0]
        counts[stage] += 1
        sizes[stage] += one.size
    rows = [("stage", "folders", "size"), *((stage, str(counts[stage]), in_bytes(sizes[stage])) for stage in counts)]
    total = f"{len(found)} folders, {in_bytes(sum(sizes.values()))}"
    said = f"Removed {total}." if removed else f"{total} that none of these studies needs; --delete removes them."
    return "\n".join([*aligned(rows), said])


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
