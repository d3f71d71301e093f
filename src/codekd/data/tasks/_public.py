"""What public datasets share: their own splits, kept as they are, out of a folder or from the hub."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from codekd.data.sources import Source
from codekd.data.tasks.base import FileTask
from codekd.errors import CodekdError

HUB_LAYOUT = {"train": "data/train-*.parquet", "valid": "data/validation-*.parquet", "test": "data/test-*.parquet"}


class PublicTask(FileTask):
    """A public dataset."""

    official_splits: ClassVar[bool] = True
    layouts: ClassVar[tuple[Mapping[str, str], ...]] = ()
    """Which files a folder may hold: patterns by role, of the first layout that fits."""

    source: Source = Field(description="A folder with the dataset's files, or a repository of the hub.")

    def local_files(self, folder: Path) -> dict[str, list[Path]]:
        """The files of a local source by role; none of one on the hub.

        Raises:
            CodekdError: the folder does not hold the dataset.
        """
        if self.source.folder is None:
            return {}
        root = self.source.path(folder)
        for layout in (*self.layouts, HUB_LAYOUT):
            found = {role: sorted(root.glob(pattern)) for role, pattern in layout.items()}
            if all(found.values()):
                return found
        expected = " or ".join(", ".join(layout.values()) for layout in (*self.layouts, HUB_LAYOUT))
        raise CodekdError(f"{root} does not hold the files of {self.kind}: {expected}")

    def spec(self) -> dict[str, Any]:
        """Of the source only what determines its files."""
        return super().spec() | {"source": self.source.identity()}
