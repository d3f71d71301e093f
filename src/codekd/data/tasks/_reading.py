"""Reading of a task's examples from rows of files or of the hub, with counts of the rows that are left out."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from codekd.data.hashing import digest
from codekd.data.hole import HOLE
from codekd.data.labels import UNLABELLED
from codekd.data.readers import rows_of
from codekd.data.records import BadRow, Classes, Rejected, Row
from codekd.data.sources import Source
from codekd.data.splits import SPLITS
from codekd.data.tasks.base import FileTask
from codekd.data.wheels import resources_folder
from codekd.errors import CodekdError
from codekd.progress import track

HUB_SPLITS = {"train": ("train",), "valid": ("validation", "valid", "dev"), "test": ("test", "eval")}

Example = dict[str, Any]
Files = Mapping[str, Sequence[Path]]
Frames = dict[str, pl.DataFrame]
Made = TypeVar("Made")


class Reader:
    """Reader of one task's splits, which counts the rows that cannot be used.

    Args:
        config: of the task.
        source: of a public dataset; rows come from the hub if it names no folder.
    """

    def __init__(self, config: FileTask, source: Source | None = None) -> None:
        self._config = config
        self._source = source
        self._rejected = Rejected()
        self._seen: dict[str, int] = {}
        self._unneeded: Counter[str] = Counter()
        self.classes = Classes(config.classes)

    def frames(self, files: Files, example: Callable[[Row], Example]) -> tuple[Frames, dict[str, int]]:
        """Read all splits as frames, and return them with the number of rows left out, by reason.

        Args:
            files: paths by split.
            example: ``key``, the columns of code, ``label`` and ``group`` of a row, or BadRow for an unusable one.

        Raises:
            CodekdError: a file cannot be read, or rows cannot be used and are not to be skipped.
        """
        frames = {split: self.frame(self.accepted(self.rows(files, split), split, example), "key") for split in SPLITS}
        return frames, self.left_out()

    def frame(self, examples: Iterable[Example], *more: str) -> pl.DataFrame:
        """Frame of examples with ``more`` columns, those of code, ``label`` and ``group``."""
        columns = (*more, *self._config.columns, "label", "group")
        schema = {name: pl.Int32 if name == "label" else pl.String for name in columns}
        return pl.DataFrame(list(examples), schema=schema)

    def rows(self, files: Files, split: str, columns: Collection[str] = ()) -> Iterable[Row]:
        """Rows of a split from its files, which must have the ``columns``, or from the hub."""
        if self._source and not self._source.folder and split in HUB_SPLITS:
            return self._hub_rows(split)
        return rows_of(files.get(split, []), columns)

    @cached_property
    def _hub(self) -> Any:
        assert self._source is not None
        return hub_dataset(self._source)

    def _hub_rows(self, split: str) -> Iterator[Row]:
        name = next((name for name in HUB_SPLITS[split] if name in self._hub), None)
        if name is None:
            raise CodekdError(f"{self._config.kind}: the hub has the splits {', '.join(self._hub)}, none for {split}.")
        for number, values in enumerate(self._hub[name], start=1):
            yield Row(f"{name}, row {number}", values)

    def accepted(self, rows: Iterable[Row], description: str, make: Callable[[Row], Made]) -> Iterator[Made]:
        """Results of ``make`` on rows; those for which it raises BadRow are counted and left out.

        Args:
            rows: of a split.
            description: what the progress bar says of them.
            make: result of a row.
        """
        for row in track(rows, description=f"{self._config.kind}, {description}", unit="row"):
            self._rejected.read += 1
            try:
                made = make(row)
            except BadRow as reason:
                self._rejected.add(row.place, reason)
            else:
                yield made

    def unseen(self, *parts: str, label: int = UNLABELLED) -> str:
        """Digest of ``parts``, which tell an example from all others.

        Raises:
            BadRow: an earlier example has the same parts, and this label or another one.
        """
        key = digest(*parts)
        if key in self._seen:
            raise BadRow("what an earlier row has" if self._seen[key] == label else "another label than an equal row")
        self._seen[key] = label
        return key

    def unneeded(self, reason: str, rows: int = 1) -> None:
        """Count rows that are left out for a ``reason`` although they are valid."""
        self._unneeded[reason] += rows

    def left_out(self) -> dict[str, int]:
        """Number of rows that were left out, by reason.

        Raises:
            CodekdError: there are unusable rows, and they are not to be skipped.
        """
        return self._rejected.settle(self._config.kind, self._config.on_bad_rows == "skip") | self._unneeded


def hub_dataset(source: Source) -> Any:
    """Splits of a dataset of the hub by name; its files are kept in the folder of downloads.

    Raises:
        CodekdError: the hub cannot be reached, or has no such dataset.
    """
    import datasets

    cache = resources_folder() / "hub"
    try:
        return datasets.load_dataset(source.hub, source.subset, revision=source.revision, cache_dir=str(cache))
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise CodekdError(
            f"the dataset {source.hub} at {source.revision} cannot be had from the hub: {error}. On a machine without "
            f"network, copy what `hf download --repo-type dataset {source.hub}` writes elsewhere, and name it with "
            f"`source: {{folder: PATH}}`."
        ) from None


def one_hole(code: str) -> str:
    """Return code that has exactly one hole.

    Raises:
        BadRow: the code has none or several.
    """
    if code.count(HOLE) != 1:
        raise BadRow(f"code without exactly one {HOLE}")
    return code
