"""Splits of a task: the names of the files with its examples, and with all that is made of each example."""

from collections.abc import Sequence
from pathlib import Path

from codekd.errors import CodekdError

SPLITS = ("train", "valid", "test", "unlabeled")

LABELLED = ("train", "valid", "test")

EVALUATED = ("valid", "test")
"""Splits that models are chosen by and compared on."""

UNLABELED = "unlabeled"

TRANSFER = ("train", UNLABELED)
"""Splits that students learn from."""

SHARD_ROWS = 512
"""Number of examples in a row group of a Parquet file, and in a shard of a captured signal."""


def places(folder: Path, found: Sequence[str], ids: Sequence[str]) -> list[int]:
    """Index of each of ``ids`` among the ids ``found`` in a folder.

    Raises:
        CodekdError: some ids are not found.
    """
    position = {name: index for index, name in enumerate(found)}
    missing = [name for name in ids if name not in position]
    if missing:
        raise CodekdError(
            f"{folder} lacks {len(missing)} of {len(ids)} examples, {missing[0]} first; delete it and run again."
        )
    return [position[name] for name in ids]
