"""SHA-256 of users' own files, computed once and remembered by path, size, times and inode.

Standard library only: the Snakefile asks for them when it is parsed.
"""

import hashlib
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from codekd.errors import CodekdError
from codekd.files import remember, remembered

RECENT_NS = 2_000_000_000
"""Age in nanoseconds up to which the digest of a changed file is not remembered.

The file may change once more within the same tick of its file system's clock.
"""


@dataclass(frozen=True)
class LocalFile:
    """File of a user with its SHA-256; identities depend on its content alone, not on its path."""

    path: Path
    sha256: str


class Contents:
    """Memory of files' SHA-256 between runs, in one JSON file that may be lost at any time."""

    def __init__(self, memory: Path) -> None:
        self._memory = memory

    @cached_property
    def _known(self) -> dict[str, list[int | str]]:
        return remembered(self._memory)

    def file(self, path: Path) -> LocalFile:
        """File at a path with its SHA-256, which is computed if the file changed since it was remembered.

        Raises:
            CodekdError: there is no such file, or it cannot be read.
        """
        path = path.absolute()
        try:
            found = path.stat()
            stamp = [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
            *known, sha256 = self._known.get(str(path), [""])
            if known == stamp:
                return LocalFile(path, str(sha256))
            sha256 = digest_of(path)
        except OSError as error:
            raise CodekdError(f"cannot read {path}: {error.strerror}") from None
        if time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) > RECENT_NS:
            self._known[str(path)] = [*stamp, sha256]
            remember(self._known, self._memory)
        return LocalFile(path, sha256)


def digest_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
