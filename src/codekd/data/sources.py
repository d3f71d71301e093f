"""Sources of public datasets and pretrained encoders: local folders and repositories of the hub.

No heavy imports: models of the config use this module.
"""

import glob
import re
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from codekd.study.base import Model

COMMIT = re.compile(r"[0-9a-f]{40}")
FORMATS = {
    **{".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"},
    **{".csv": "csv", ".tsv": "csv", ".parquet": "parquet"},
}
"""Formats of rows by file suffix; a ``.json`` file may hold a list of objects, or one object a line."""

COMPRESSED = (".gz", ".bz2", ".zst")
"""Suffixes of compressed files that are read without unpacking them first."""


def format_of(name: str) -> str | None:
    """Format of a file of rows by its name, None for other files and for Parquet compressed once more."""
    path = Path(name.lower())
    compressed = path.suffix in COMPRESSED
    found = FORMATS.get(path.with_suffix("").suffix if compressed else path.suffix)
    return None if compressed and found == "parquet" else found


def files_at(base: Path, pattern: str) -> list[Path]:
    """Files that a path or a pattern names, sorted; a path is returned whether there is such a file or not.

    Args:
        base: folder that relative paths start from.
        pattern: path, or pattern with ``*``, ``?``, ``**`` or ``[...]``; ``~`` is the user's home.
    """
    path = base / Path(pattern).expanduser()
    if path.exists() or not glob.has_magic(pattern):
        return [path]
    found = Path(path.anchor).glob(str(path.relative_to(path.anchor)))
    return sorted(one for one in found if one.is_file())


class Source(Model):
    """Source of files: a local folder, identified by what its files contain, or a hub's repository, by a commit."""

    folder: str | None = Field(
        None, description="Folder with the files, relative to the config file; takes the place of the hub's."
    )
    hub: str | None = Field(
        None, pattern=r"^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?$", description="Repository of the hub, owner/name."
    )
    subset: str | None = Field(None, pattern=r"^[\w.-]+$", description="Subset of a dataset of the hub.")
    revision: str = Field(
        "main",
        pattern=r"^\w[\w-]*([./][\w-]+)*$",
        description="Commit of the hub's repository; `codekd lock` writes that of a branch or tag beside the config.",
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.folder is None and self.hub is None:
            raise ValueError("needs `folder: PATH` or `hub: OWNER/NAME`")
        return self

    @property
    def unpinned(self) -> bool:
        """Whether the files may change under the same name: those of a branch or tag of the hub."""
        return self.folder is None and not COMMIT.fullmatch(self.revision)

    def at(self, commit: str) -> Self:
        """Copy of the source with a commit as its revision."""
        return self.model_copy(update={"revision": commit})

    def identity(self) -> dict[str, Any]:
        """Values that determine the files; of a folder there are none, since its files are hashed themselves."""
        return {"folder": "."} if self.folder else self.model_dump(include={"hub", "subset", "revision"})

    def path(self, base: Path) -> Path:
        """Path of the local folder; a relative one starts from ``base``, the folder of the config file."""
        assert self.folder is not None
        return base / Path(self.folder).expanduser()
