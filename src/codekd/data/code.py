"""Functions of corpora for training without labels, by the part of the split that their packages are in."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

READ = {"train": ("train", "transfer"), "valid": ("valid",)}
"""Parts of the split whose packages training without labels reads, and is evaluated on; never test packages."""


def functions_by_part(corpora: Sequence[Path], packages: Mapping[str, str]) -> dict[str, pl.DataFrame]:
    """Distinct functions for ``train`` and ``valid``: frames with ``package`` and ``code``, of equal ones the first.

    Args:
        corpora: folders of ``corpus`` nodes.
        packages: part of the split of every package.
    """
    frames = [pl.read_parquet(folder / "functions.parquet", columns=["package", "code"]) for folder in corpora]
    functions = pl.concat(frames)
    return {
        part: functions.filter(
            pl.col("package").is_in([name for name, where in packages.items() if where in read])
        ).unique("code", keep="first", maintain_order=True)
        for part, read in READ.items()
    }
