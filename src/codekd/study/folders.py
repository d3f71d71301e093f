"""What lies in a results folder."""

import re
from collections.abc import Iterator
from pathlib import Path

IDENTITY = re.compile(r"-([0-9a-f]{12})$")
BESIDE = ("logs", "benchmarks")


def node_folders(results: Path) -> Iterator[Path]:
    """The folders of nodes of any study, finished or not, in order."""
    for stage in sorted(results.glob("[!.]*/")):
        if stage.name not in BESIDE:
            yield from _named_by_identity(stage)


def identity_of(folder: Path) -> str:
    """The identity that a node's folder, its scratch folder or its claim is named by."""
    found = IDENTITY.search(folder.name.removesuffix(".lock"))
    return found[1] if found else ""


def _named_by_identity(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.glob("*/")):
        if path.is_symlink():
            continue
        if identity_of(path):
            yield path
        else:
            yield from _named_by_identity(path)
