"""Studies that ran in a results folder: their configs as they were merged, so that every command knows them by name."""

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
    """A study as it was run last.

    ``config`` is what its ``files`` and the command line said together, ``nodes`` the identities that it needs.
    """

    name: str
    config: Mapping[str, Any]
    files: tuple[str, ...]
    nodes: frozenset[str]
    path: Path


def record(results: Path, name: str, config: Mapping[str, Any], files: Sequence[Path], nodes: Iterable[str]) -> None:
    """Keep it; another config under the same name is another record."""
    about = {"name": name, "config": config, "files": [str(file.absolute()) for file in files]}
    path = results / STUDIES / f"{name}-{digest(about)}.json"
    put_text(canonical(about | {"nodes": sorted(nodes)}), path)


def records(results: Path) -> list[Record]:
    """All that there are, those that ran last first; what cannot be read is none."""
    found = []
    for path in sorted((results / STUDIES).glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            about = json.loads(path.read_text())
            found.append(Record(about["name"], about["config"], tuple(about["files"]), frozenset(about["nodes"]), path))
        except (ValueError, KeyError, TypeError):
            continue
    return found
