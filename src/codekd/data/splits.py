"""The files that a task's examples, and all that is made of them one by one, are kept in."""

from collections.abc import Sequence
from pathlib import Path

from codekd.errors import CodekdError

SPLITS = ("train", "valid", "test", "unlabeled")

LABELLED = ("train", "valid", "test")

EVALUATED = ("valid", "test")
"""What models are chosen by and compared on."""

UNLABELED = "unlabeled"

TRANSFER = ("train", UNLABELED)
"""What students learn from."""

SHARD_ROWS = 512
"""Examples in a row group of what is read piece by piece, and in a shard of what is captured."""


def places(folder: Path, found: Sequence[str], ids: Sequence[str]) -> list[int]:
    """Where each of ``ids`` is among the ids ``found`` in a folder.

    Raises:
        CodekdError: the folder lacks some.
    """
    position = {name: index for index, name in enumerate(found)}
    missing = [name for name in ids if name not in position]
    if missing:
        raise CodekdError(
            f"{folder} lacks {len(missing)} of {len(ids)} examples, {missing[0]} first; delete it and run again."
        )
    return [position[name] for name in ids]
