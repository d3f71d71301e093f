"""Reading of a task's examples, with checks of all that later stages rely on."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from codekd.data.labels import UNLABELLED
from codekd.data.splits import SHARD_ROWS
from codekd.errors import CodekdError
from codekd.progress import track

REMEMBERED = 2**14
"""Number of pieces of code whose tokens or syntax are cached: pairs have the same pieces many times."""


def read_examples(
    folder: Path, split: str, columns: Sequence[str], classes: Sequence[str] | None = None
) -> pl.DataFrame:
    """Frame of one split of a task: ``id``, ``label`` (int32, -1 in ``unlabeled``), ``group``, code and other columns.

    Args:
        folder: of an ``examples`` node.
        split: ``train``, ``valid``, ``test`` or ``unlabeled``.
        columns: names of the columns of code.
        classes: names of the classes; without them any label from 0 on is accepted.

    Raises:
        CodekdError: a column is missing, of another type or null somewhere, an id is there twice, or a label is
            out of range; file and row (counted from 0) are named.
    """
    path = folder / f"{split}.parquet"
    try:
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise CodekdError(f"{path} cannot be read as Parquet: {error}") from None
    if split == "unlabeled" and "label" not in frame.columns:
        frame = frame.with_columns(label=pl.lit(UNLABELLED, dtype=pl.Int32))
    for name in ("id", *columns, "group", "label"):
        _check_column(path, frame, name, pl.Int32() if name == "label" else pl.String())
    _refuse(path, frame, pl.col("id").is_duplicated(), "id", "ids must be unique")
    if split == "unlabeled":
        _refuse(path, frame, pl.col("label") != UNLABELLED, "label", f"unlabelled rows have {UNLABELLED}")
    else:
        in_range = pl.col("label") >= 0 if classes is None else pl.col("label").is_between(0, len(classes) - 1)
        allowed = "not negative" if classes is None else f"0 to {len(classes) - 1} ({', '.join(classes)})"
        _refuse(path, frame, ~in_range, "label", f"labels are {allowed}")
    return frame


def in_shards(examples: pl.DataFrame, description: str) -> Iterator[pl.DataFrame]:
    """Slices of examples, each as large as a shard, in order, with a progress bar that says ``description``."""
    return track(list(examples.iter_slices(SHARD_ROWS)), len(examples), description, "example", len)


def _check_column(path: Path, frame: pl.DataFrame, name: str, dtype: pl.DataType) -> None:
    if name not in frame.columns:
        raise CodekdError(f"{path} has no column {name!r}; it has {', '.join(frame.columns)}")
    if frame.schema[name] != dtype:
        raise CodekdError(f"{path}: column {name!r} is {frame.schema[name]}; write it as {dtype}")
    _refuse(path, frame, pl.col(name).is_null(), name, "every row needs a value")


def _refuse(path: Path, frame: pl.DataFrame, wrong: pl.Expr, column: str, rule: str) -> None:
    """Raise for the first row where ``wrong`` holds."""
    rows = frame.with_row_index("row").filter(wrong)
    if len(rows):
        row = rows.row(0, named=True)
        raise CodekdError(f"{path}, row {row['row']}: {column} is {row[column]!r}, but {rule} ({len(rows)} such rows)")
