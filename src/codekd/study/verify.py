"""Verification that everything in a results folder is what was written there."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from codekd.errors import CodekdError
from codekd.study.folders import identity_of
from codekd.study.graph import identity
from codekd.study.manifest import MANIFEST, read_manifest, wrong_files


def problems(folder: Path) -> Iterator[str]:
    """Problems of a node, as messages: its manifest, its identity, each of its files, and files that no stage wrote.

    A folder without a manifest is unfinished and has no problems.
    """
    if not (folder / MANIFEST).exists():
        return
    try:
        manifest = read_manifest(folder)
    except CodekdError as error:
        yield str(error)
        return
    found = identity(*(manifest[key] for key in ("stage", "spec", "code", "parents")))
    if not found == manifest["identity"] == identity_of(folder):
        yield f"{folder}: what its manifest says has the identity {found}, another one than its folder"
    wrong = list(wrong_files(folder, manifest))
    yield from (f"{path} is not what was written there: it is missing, or its size or SHA-256 is not" for path in wrong)
    for name in manifest["files"]:
        if folder / name not in wrong and (said := _unreadable(folder / name)):
            yield f"{folder / name} cannot be read: {said}"
    yield from (f"{path} was written by nobody" for path in _strange(folder, manifest))


def _strange(folder: Path, manifest: Mapping[str, Any]) -> Iterator[Path]:
    known = {folder / name for name in (*manifest["files"], MANIFEST)}
    return (path for path in sorted(folder.rglob("*")) if not path.is_dir() and path not in known)


def _unreadable(path: Path) -> str | None:
    """Error of the library that reads a file's format, or None."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from safetensors import SafetensorError, safe_open

    try:
        if path.suffix == ".parquet":
            pq.read_metadata(path)
        elif path.suffix == ".safetensors":
            with safe_open(path, framework="np") as file:
                file.keys()
        elif path.suffix == ".json":
            json.loads(path.read_text())
    except (OSError, ValueError, pa.ArrowException, SafetensorError) as error:
        return str(error)
    return None
