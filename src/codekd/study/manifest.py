"""Manifest of a node: what it is, what it was made from, and size and SHA-256 of every file.

A node counts as done when its folder has a manifest.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from codekd.errors import CodekdError
from codekd.files import put
from codekd.study.canonical import digest
from codekd.study.content import digest_of

MANIFEST = "manifest.json"
CHECKSUM = "checksum"


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write a manifest into a folder, with a checksum of the manifest itself."""
    temporary = folder / f"{MANIFEST}.tmp"
    temporary.write_text(_text(manifest))
    put(temporary, folder / MANIFEST)


def publish(work: Path, folder: Path, manifest: Mapping[str, Any]) -> None:
    """Move a node's files into place; the manifest, which makes the node count as done, comes last.

    Args:
        work: folder in which the files were written, on the same file system.
        folder: the node's folder.
        manifest: the manifest, which names the files; it is written here.
    """
    write_manifest(work, manifest)
    (folder / MANIFEST).unlink(missing_ok=True)
    for name in (*manifest["files"], MANIFEST):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        put(work / name, folder / name)


def timestamp(seconds: float) -> str:
    """Seconds since 1970 as ISO 8601 text in UTC, as in manifests."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def read_manifest(folder: Path) -> dict[str, Any]:
    """Manifest of a finished node, after a comparison with its checksum.

    Raises:
        CodekdError: the folder has none, or it is not as it was written.
    """
    try:
        text = (folder / MANIFEST).read_text()
        manifest = json.loads(text)
        del manifest[CHECKSUM]
        changed = text != _text(manifest)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CodekdError(
            f"{folder} is not a finished node: {MANIFEST}: {error!r}. Delete the folder and run again."
        ) from None
    if changed:
        raise CodekdError(f"{folder / MANIFEST} is not what was written there. Delete the folder and run again.")
    return manifest


def manifest_if_finished(folder: Path) -> dict[str, Any] | None:
    """Manifest of a node, or None if the node is not finished.

    Raises:
        CodekdError: it is not as it was written.
    """
    return read_manifest(folder) if (folder / MANIFEST).exists() else None


def size_and_hash(path: Path) -> dict[str, Any]:
    """Size in bytes and hexadecimal SHA-256 of a file, as in manifests."""
    return {"size": path.stat().st_size, "sha256": digest_of(path)}


def wrong_files(folder: Path, manifest: Mapping[str, Any], unread: str | None = None) -> Iterator[Path]:
    """Files of a node that are missing, or differ in size or SHA-256 from its manifest.

    Args:
        folder: the node's folder.
        manifest: its manifest.
        unread: suffix of files to skip, such as ``.safetensors``.
    """
    for name, written in manifest["files"].items():
        path = folder / name
        if path.suffix != unread and (not path.is_file() or size_and_hash(path) != written):
            yield path


def check_files(folder: Path, manifest: Mapping[str, Any], unread: str | None = None) -> None:
    """Check all files of a node against its manifest, except those with the suffix ``unread``.

    Raises:
        CodekdError: a file is missing, or is not what was written.
    """
    for path in wrong_files(folder, manifest, unread):
        raise CodekdError(
            f"{path} is not what was written there: it is missing, or its size or SHA-256 is not that in "
            f"{MANIFEST}. Delete {folder} and run again."
        )


def _text(manifest: Mapping[str, Any]) -> str:
    """Whole text of the file, which is compared as it is so that no byte can change unseen."""
    return json.dumps({CHECKSUM: digest(manifest), **manifest}, indent=1, ensure_ascii=False) + "\n"
