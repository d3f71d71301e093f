"""What public datasets share: their own splits, kept as they are, out of a folder or from the hub."""

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
"""What copies of the hub's datasets hold: as their owners uploaded them, of a subset, and as the hub converted them."""


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
        """Where they may be, in turns: in the folder (the hub's cache has ``snapshots/COMMIT`` in it), or below."""
        roots = sorted((root / "snapshots").glob("*/")) or [root]
        subset = self.source.subset
        if subset:
            yield [base / subset for base in roots]
        yield roots
        if not subset:
            yield [folder for base in roots for folder in sorted(base.glob("*/"))]

    def spec(self) -> dict[str, Any]:
        """Of the source only what determines its files."""
        return super().spec() | {"source": self.source.identity()}


def _first_fit(base: Path, layouts: Sequence[Mapping[str, str]]) -> dict[str, list[Path]]:
    """The files of the first layout that a folder has, by role; nothing where it has none."""
    for layout in layouts:
        found = {role: sorted(base.glob(pattern)) for role, pattern in layout.items()}
        if all(found.values()):
            return found
    return {}
