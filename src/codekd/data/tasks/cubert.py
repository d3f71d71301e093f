"""Exception classification on CuBERT's dataset (Kanade et al. 2020, arXiv 2001.00059), made of ETH Py150 Open.

A folder holds the shards ``train.jsontxt-*``, ``dev.jsontxt-*`` and ``eval.jsontxt-*``, a JSON object a line with
``function``, ``label`` and ``info``, or the Parquet files of a copy on the hub.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from codekd.data.tasks._public import PublicTask
from codekd.data.tasks.base import Language
from codekd.data.tasks.exception import CLASSES, shown

__all__ = ["CLASSES", "Config", "read", "shown"]

if TYPE_CHECKING:
    import polars as pl


class Config(PublicTask):
    """Exception classification on CuBERT's dataset: Python functions with ``__HOLE__`` for the type that is caught."""

    has_hole: ClassVar[bool] = True
    language: ClassVar[Language] = "python"
    published: ClassVar[Mapping[str, int]] = {"train": 18480, "valid": 2088, "test": 10348, "unlabeled": 0}
    layouts: ClassVar[tuple[Mapping[str, str], ...]] = (
        {"train": "train.jsontxt-*", "valid": "dev.jsontxt-*", "test": "eval.jsontxt-*"},
    )

    kind: Literal["cubert"] = "cubert"
    classes: tuple[str, ...] = Field(CLASSES, min_length=2, description="Exception types.")
    metric: Literal["accuracy", "f1", "macro_f1"] = Field("accuracy", description="Chooses the best epoch.")


def read(config: Config, files: Mapping[str, Sequence[Path]]) -> "tuple[dict[str, pl.DataFrame], dict[str, int]]":
    """Frames by split with ``key``, ``code``, ``label`` and ``group``, and rows left out by reason.

    Args:
        config: of the task.
        files: paths by split; none where the source is on the hub.
    """
    from codekd.data.tasks._reading import Example, Reader, Row, one_hole

    reader = Reader(config, config.source)

    def example(row: Row) -> Example:
        code, label, info = one_hole(row.code("function")), row.label("label", reader.classes), row.text("info")
        # The code is in the key, since rows have no number, and clauses of a function have the same info.
        return {"key": reader.unseen(info, code), "code": code, "label": label, "group": repository(info)}

    return reader.frames(files, example)


def repository(info: str) -> str:
    """Repository, ``owner/name``, in an example's info, ``dataset/ETHPy150Open owner/name/path.py function``."""
    _, _, path = info.partition(" ")
    owner, _, rest = path.partition("/")
    name, _, inside = rest.partition("/")
    return f"{owner}/{name}" if inside else info
