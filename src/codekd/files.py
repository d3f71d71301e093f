"""Files that are there in full or not at all, also after a machine stopped at once."""

import errno
import os
from pathlib import Path


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


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
