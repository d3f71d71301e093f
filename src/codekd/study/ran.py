"""Records of the studies that ran in a results folder: their merged configs, by which commands know them by name."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codekd.files import put_text
from codekd.study.canonical import canonical, digest

STUDIES = ".studies"


@dataclass(frozen=True)
class Record:
    """Record of a study as it ran last.

    ``config`` is the merged content of its ``files`` and the command line, ``nodes`` are the identities of its nodes,
    and ``path`` is the file of the record.
    """

    name: str
    config: Mapping[str, Any]
    files: tuple[str, ...]
    nodes: frozenset[str]
    path: Path


def record(results: Path, name: str, config: Mapping[str, Any], files: Sequence[Path], nodes: Iterable[str]) -> None:
    """Write the record of a study; another config under the same name is another record.

    Args:
        results: the results folder.
        name: name of the study.
        config: merged content of the config files and the command line.
        files: the config files.
        nodes: identities of all nodes of the study.
    """
    about = {"name": name, "config": config, "files": [str(file.absolute()) for file in files]}
    path = results / STUDIES / f"{name}-{digest(about)}.json"
    put_text(canonical(about | {"nodes": sorted(nodes)}), path)


def records(results: Path) -> list[Record]:
    """Records of all studies that ran here, the latest first; files that cannot be read are skipped."""
    found = []
    for path in sorted((results / STUDIES).glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            about = json.loads(path.read_text())
            found.append(Record(about["name"], about["config"], tuple(about["files"]), frozenset(about["nodes"]), path))
        except (ValueError, KeyError, TypeError):
            continue
    return found
