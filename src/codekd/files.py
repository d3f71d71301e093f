"""Atomic and durable writing: after a crash or a power cut a file is complete, in its old or new version, or absent."""

import errno
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any


def put(new: Path, path: Path) -> None:
    """Rename a file to its final path, replacing a file there, with its content and its name synced to the disk.

    The content is synced before the rename: otherwise the new name may survive a crash and the content may not.

    Args:
        new: the complete file, on the file system of ``path``.
        path: its final path.
    """
    _sync(new)
    new.replace(path)
    try:
        _sync(path.parent)
    except OSError as error:
        # Some file systems cannot sync folders.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


def put_text(text: str, path: Path) -> None:
    """Write a text file atomically, by way of a temporary file beside it; a missing folder is created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        new.write_text(text)
        put(new, path)
    except OSError:
        new.unlink(missing_ok=True)
        raise


def remembered(path: Path) -> dict[str, Any]:
    """Values in a JSON file that :func:`remember` wrote; none if the file is missing or damaged."""
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def remember(known: dict[str, Any], path: Path) -> None:
    """Write values that can be computed again into a JSON file; a file that cannot be written is no error."""
    with suppress(OSError):
        put_text(json.dumps(known), path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
