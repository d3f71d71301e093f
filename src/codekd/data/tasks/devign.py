"""Defect detection on Devign (Zhou et al. 2019, arXiv 1909.03496), with the splits of CodeXGLUE (arXiv 2102.04664).

A folder holds ``train.jsonl``, ``valid.jsonl`` and ``test.jsonl`` with ``project``, ``commit_id``, ``target``, ``func``
and ``idx``, or the Parquet files of the hub's copy.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from codekd.data.splits import LABELLED
from codekd.data.tasks._public import PublicTask
from codekd.data.tasks.base import Language

if TYPE_CHECKING:
    import polars as pl


class Config(PublicTask):
    """Defect detection on Devign: is a C function vulnerable?"""

    language: ClassVar[Language] = "c"
    published: ClassVar[Mapping[str, int]] = {"train": 21854, "valid": 2732, "test": 2732, "unlabeled": 0}
    layouts: ClassVar[tuple[Mapping[str, str], ...]] = ({part: f"{part}.jsonl" for part in LABELLED},)

    kind: Literal["devign"] = "devign"
    classes: tuple[str, str] = Field(("safe", "vulnerable"), description="Two classes, by `target`.")
    metric: Literal["accuracy", "f1", "macro_f1"] = Field("accuracy", description="Chooses the best epoch.")


def read(config: Config, files: Mapping[str, Sequence[Path]]) -> "tuple[dict[str, pl.DataFrame], dict[str, int]]":
    """Frames by split with ``key``, ``code``, ``label`` and ``group``, and rows left out by reason.

    Args:
        config: of the task.
        files: paths by split; none where the source is on the hub.
    """
    from codekd.data.tasks._reading import Example, Reader, Row

    reader = Reader(config, config.source)

    def example(row: Row) -> Example:
        code, label, project = row.code("func"), row.label("target", reader.classes), row.text("project")
        # The number of a row is `idx` in CodeXGLUE's files and `id` on the hub.
        number = row.name("id" if "id" in row.names else "idx")
        return {"key": reader.unseen(number), "code": code, "label": label, "group": project}

    return reader.frames(files, example)
