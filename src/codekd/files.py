"""Files that are there in full or not at all, also after a machine stopped at once."""

import errno
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any


def put(new: Path, path: Path) -> None:
    """Rename a file to its place, in which it replaces another one; it is on the disk before, its name after.

    Without that a rename may be on the disk and the content of what was renamed not.
    """
    _sync(new)
    new.replace(path)
    try:
        _sync(path.parent)
    except OSError as error:
        # Some file systems know no such thing for folders.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


def put_text(text: str, path: Path) -> None:
    """Write a file by way of one beside it, in a folder that is made where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        new.write_text(text)
        put(new, path)
    except OSError:
        new.unlink(missing_ok=True)
        raise


def remembered(path: Path) -> dict[str, Any]:
    """What :func:`remember` kept; nothing where it is lost or damaged."""
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def remember(known: dict[str, Any], path: Path) -> None:
    """Keep what can be found again, as JSON; where nothing can be written it is found again."""
    with suppress(OSError):
        put_text(json.dumps(known), path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
