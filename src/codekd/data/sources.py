"""Where the files of a public dataset or of a pretrained encoder come from. Light: config models use it."""

import re
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from codekd.study.base import Model

COMMIT = re.compile(r"[0-9a-f]{40}")


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
        return base / self.folder
