"""Folders of nodes in a results folder, and the identities in their names."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from codekd.errors import CodekdError
from codekd.study.canonical import LENGTH

IDENTITY = re.compile(rf"-([0-9a-f]{{{LENGTH}}})$")
BESIDE = ("logs", "benchmarks")


def node_folders(results: Path) -> Iterator[Path]:
    """Folders of the nodes of all studies, finished or not, sorted."""
    for stage in sorted(results.glob("[!.]*/")):
        if stage.name not in BESIDE:
            yield from _named_by_identity(stage)


def nodes_at(folder: Path) -> list[Path]:
    """Folders of nodes at a path: the path itself, or those below it.

    Raises:
        CodekdError: there is none.
    """
    found = [folder] if identity_of(folder) and folder.is_dir() else [*_named_by_identity(folder)]
    if not found:
        raise CodekdError(f"{folder} is no folder of a node and has none in it")
    return found


def identity_of(folder: Path) -> str:
    """Identity in the name of a node's folder, scratch folder, lock or job file; empty if there is none."""
    found = IDENTITY.search(folder.name.removesuffix(".lock").removesuffix(".json"))
    return found[1] if found else ""


def folder_of(results: Path, identity: str) -> Path:
    """Folder of the node with an identity.

    Raises:
        CodekdError: the results have none.
    """
    for folder in node_folders(results):
        if identity_of(folder) == identity:
            return folder
    raise CodekdError(f"{results} has no node with the identity {identity}, which is needed here.")


def empty(folder: Path) -> Path:
    """Create an empty folder, delete what was there before, and return it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _named_by_identity(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.glob("*/")):
        if path.is_symlink():
            continue
        if identity_of(path):
            yield path
        else:
            yield from _named_by_identity(path)
