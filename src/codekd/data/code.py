"""The functions of corpora, by what the split has their packages for."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

READ = {"train": ("train", "transfer"), "valid": ("valid",)}
"""Packages that training without labels reads, and those that it is judged on; those for tests are in neither."""


def functions_by_part(corpora: Sequence[Path], packages: Mapping[str, str]) -> dict[str, pl.DataFrame]:
    """The different functions of the packages of each part: ``package`` and ``code``, of equals the first.

    ``corpora`` are folders of ``corpus`` nodes, ``packages`` says where the split puts a package.
    """
    frames = [pl.read_parquet(folder / "functions.parquet", columns=["package", "code"]) for folder in corpora]
    functions = pl.concat(frames)
    return {
        part: functions.filter(
            pl.col("package").is_in([name for name, where in packages.items() if where in read])
        ).unique("code", keep="first", maintain_order=True)
        for part, read in READ.items()
    }
