"""Where the files of a public dataset or of a pretrained encoder come from. Light: config models use it."""

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
"""Formats of rows by the ends of files' names; what is called JSON may be a list of objects, or one a line."""

COMPRESSED = (".gz", ".bz2", ".zst")
"""Ends of the names of compressed files that are read as they are."""


def format_of(name: str) -> str | None:
    """The format of a file of rows by its name, None if that is none; Parquet compresses itself."""
    path = Path(name.lower())
    compressed = path.suffix in COMPRESSED
    found = FORMATS.get(path.with_suffix("").suffix if compressed else path.suffix)
    return None if compressed and found == "parquet" else found


def files_at(base: Path, pattern: str) -> list[Path]:
    """The files that a path or a pattern with ``*``, ``?``, ``**`` or ``[...]`` names, sorted, ``~`` being one's home.

    A path names its file whether there is one or not.
    """
    path = base / Path(pattern).expanduser()
    if path.exists() or not glob.has_magic(pattern):
        return [path]
    found = Path(path.anchor).glob(str(path.relative_to(path.anchor)))
    return sorted(one for one in found if one.is_file())


class Source(Model):
    """A folder of this machine, known by what its files contain, or a repository of the hub, known by a commit."""

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
        """Whether the files may become others under the same name."""
        return self.folder is None and not COMMIT.fullmatch(self.revision)

    def at(self, commit: str) -> Self:
        """The same repository at a commit."""
        return self.model_copy(update={"revision": commit})

    def identity(self) -> dict[str, Any]:
        """What determines the files, as a source: nothing of a folder, whose files speak for themselves."""
        return {"folder": "."} if self.folder else self.model_dump(include={"hub", "subset", "revision"})

    def path(self, base: Path) -> Path:
        """The folder, from the folder of the config file."""
        assert self.folder is not None
        return base / Path(self.folder).expanduser()
