"""Status of a study: which nodes are done, running, failed, killed or still missing."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from codekd.study.claim import holder
from codekd.study.estimate import missing
from codekd.study.graph import Node
from codekd.study.job import ERROR, scratch_folder
from codekd.study.text import Row, aligned

FAILED = ("failed", "killed")
STATES = ("done", "running", *FAILED, "missing")


@dataclass(frozen=True)
class Status:
    """State of a node, one of ``STATES``; ``detail`` is the process that makes it, or the message of its failure."""

    node: Node
    state: str
    detail: str = ""


def status_of(nodes: Sequence[Node], results: Path) -> list[Status]:
    """Status of each node, in the order given."""
    todo = {node.folder for node in missing(nodes, results)}
    return [_status(node, results) if node.folder in todo else Status(node, "done") for node in nodes]


def as_text(found: Sequence[Status]) -> str:
    """Table of states by stage, then a line for each node that is running, failed or was killed."""
    stages = dict.fromkeys(one.node.stage for one in found)
    counts = Counter((one.node.stage, one.state) for one in found)
    rows: list[Row] = [("stage", "nodes", *STATES)]
    for stage in stages:
        numbers = [counts[stage, state] for state in STATES]
        rows.append((stage, str(sum(numbers)), *(str(number or "") for number in numbers)))
    return "\n".join([*aligned(rows), *_details(found)])


def exit_code(found: Iterable[Status]) -> int:
    """Exit code of ``codekd status``: 0 if all nodes are done, 3 if one failed or was killed, otherwise 4."""
    states = {one.state for one in found}
    return 3 if states.intersection(FAILED) else 4 if states - {"done"} else 0


def _details(found: Sequence[Status]) -> list[str]:
    return [f"{one.state}: {one.node.title}: {one.detail}" for one in found if one.detail]


def _status(node: Node, results: Path) -> Status:
    if by := holder(results, node.name):
        return Status(node, "running", by)
    scratch = scratch_folder(results, node.name)
    if (scratch / ERROR).exists():
        return Status(node, "failed", (scratch / ERROR).read_text())
    if scratch.exists():
        return Status(node, "killed", "it ended without a word, as when memory runs out")
    return Status(node, "missing")
