"""Base of the tasks on public datasets: official splits, kept as they are, from a folder or the hub."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from codekd.data.sources import Source
from codekd.data.tasks.base import FileTask
from codekd.errors import CodekdError

HUB_LAYOUTS = tuple(
    {"train": pattern.format("train"), "valid": pattern.format("validation"), "test": pattern.format("test")}
    for pattern in ("data/{}-*.parquet", "{}-*.parquet", "{}/*.parquet")
)
"""Files of a copy of a dataset of the hub: as its owner uploaded them, of a subset, and as the hub converts them."""


class PublicTask(FileTask):
    """Config of a task on a public dataset with official splits."""

    official_splits: ClassVar[bool] = True
    layouts: ClassVar[tuple[Mapping[str, str], ...]] = ()
    """Layouts that a folder may have, as patterns of files by role; the first that fits is used."""

    source: Source = Field(description="A folder with the dataset's files, or a repository of the hub.")

    def local_files(self, folder: Path) -> dict[str, list[Path]]:
        """Files of a local source by role, none of a source on the hub; ``folder`` is that of the config file.

        Raises:
            CodekdError: the folder does not hold the dataset.
        """
        if self.source.folder is None:
            return {}
        root = self.source.path(folder)
        layouts = (*self.layouts, *HUB_LAYOUTS)
        for bases in self._bases(root):
            fitting = {base: found for base in bases if (found := _first_fit(base, layouts))}
            if len(fitting) > 1:
                names = ", ".join(base.name for base in fitting)
                raise CodekdError(f"{root} holds several datasets; name one by `folder:`, or by `subset:` ({names})")
            if fitting:
                return next(iter(fitting.values()))
        expected = " or ".join(", ".join(layout.values()) for layout in layouts)
        raise CodekdError(f"{root} does not hold the files of {self.kind}: {expected}")

    def _bases(self, root: Path) -> Iterator[list[Path]]:
        """Folders to look in, in turns: the source's (with ``snapshots/COMMIT`` in the hub's cache), or those below."""
        roots = sorted((root / "snapshots").glob("*/")) or [root]
        subset = self.source.subset
        if subset:
            yield [base / subset for base in roots]
        yield roots
        if not subset:
            yield [folder for base in roots for folder in sorted(base.glob("*/"))]

    def spec(self) -> dict[str, Any]:
        """Values of the config that determine the examples; of the source only those that determine its files."""
        return super().spec() | {"source": self.source.identity()}


def _first_fit(base: Path, layouts: Sequence[Mapping[str, str]]) -> dict[str, list[Path]]:
    """Files of the first layout that fits a folder, by role; empty if none fits."""
    for layout in layouts:
        found = {role: sorted(base.glob(pattern)) for role, pattern in layout.items()}
        if all(found.values()):
            return found
    return {}
