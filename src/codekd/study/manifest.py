"""The file that makes a node count as done: what it is, what it was made from, and size and SHA-256 of every file."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from codekd.errors import CodekdError
from codekd.study.content import digest_of
from codekd.study.identity import digest

MANIFEST = "manifest.json"
CHECKSUM = "checksum"


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Put a manifest into a folder, with a checksum of its own."""
    (folder / MANIFEST).write_text(_text(manifest))


def read_manifest(folder: Path) -> dict[str, Any]:
    """A node's manifest.

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


def size_and_hash(path: Path) -> dict[str, Any]:
    """What a manifest says of a file."""
    return {"size": path.stat().st_size, "sha256": digest_of(path)}


def wrong_files(folder: Path, manifest: Mapping[str, Any], unread: str | None = None) -> Iterator[Path]:
    """Files that are missing, or are not what was written; those with the suffix ``unread`` are not looked at."""
    for name, written in manifest["files"].items():
        path = folder / name
        if path.suffix != unread and (not path.is_file() or size_and_hash(path) != written):
            yield path


def _text(manifest: Mapping[str, Any]) -> str:
    """The file's whole text, so that no byte of it can change unseen."""
    return json.dumps({CHECKSUM: digest(manifest), **manifest}, indent=1, ensure_ascii=False) + "\n"
