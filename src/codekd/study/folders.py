"""What lies in a results folder."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from codekd.errors import CodekdError
from codekd.study.canonical import LENGTH

IDENTITY = re.compile(rf"-([0-9a-f]{{{LENGTH}}})$")
BESIDE = ("logs", "benchmarks")


def node_folders(results: Path) -> Iterator[Path]:
    """The folders of nodes of any study, finished or not, in order."""
    for stage in sorted(results.glob("[!.]*/")):
        if stage.name not in BESIDE:
            yield from _named_by_identity(stage)


def nodes_at(folder: Path) -> list[Path]:
    """The folders of nodes at a folder or below it.

    Raises:
        CodekdError: there is none.
    """
    found = [folder] if identity_of(folder) and folder.is_dir() else [*_named_by_identity(folder)]
    if not found:
        raise CodekdError(f"{folder} is no folder of a node and has none in it")
    return found


def identity_of(folder: Path) -> str:
    """The identity that a node's folder, its scratch folder or its claim is named by."""
    found = IDENTITY.search(folder.name.removesuffix(".lock").removesuffix(".json"))
    return found[1] if found else ""


def folder_of(results: Path, identity: str) -> Path:
    """The folder of the node with an identity.

    Raises:
        CodekdError: the results have none.
    """
    for folder in node_folders(results):
        if identity_of(folder) == identity:
            return folder
    raise CodekdError(f"{results} has no node with the identity {identity}, which is needed here.")


def empty(folder: Path) -> Path:
    """A new folder in place of what was there."""
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
