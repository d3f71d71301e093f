"""Clone detection on BigCloneBench (Svajlenko et al. 2014), with the splits of CodeXGLUE (arXiv 2102.04664).

A folder holds ``data.jsonl``, with ``func`` and ``idx``, and ``train.txt``, ``valid.txt`` and ``test.txt``, each line
``idx1<TAB>idx2<TAB>label``, or the Parquet files of the hub's copy.
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

SAMPLED = ("train", "valid")


class Config(PublicTask):
    """Clone detection on BigCloneBench: do two Java functions do the same?"""

    columns: ClassVar[tuple[str, ...]] = ("code_a", "code_b")
    language: ClassVar[Language] = "java"
    published: ClassVar[Mapping[str, int]] = {"train": 901028, "valid": 415416, "test": 415416, "unlabeled": 0}
    layouts: ClassVar[tuple[Mapping[str, str], ...]] = (
        {"functions": "data.jsonl", **{part: f"{part}.txt" for part in LABELLED}},
    )

    kind: Literal["bigclonebench"] = "bigclonebench"
    share: float = Field(
        0.1, gt=0, le=1, description="Share of train and valid that is kept, chosen by a hash of a pair's ids."
    )
    classes: tuple[str, str] = Field(("different", "clone"), description="Two classes.")
    metric: Literal["accuracy", "f1", "macro_f1"] = Field("f1", description="Chooses the best epoch.")

    def expected(self) -> Mapping[str, int]:
        """Number of examples of each split: the published one, of train and valid the ``share`` that is kept."""
        kept = {part: round(self.share * self.published[part]) for part in SAMPLED}
        return {**self.published, **kept}


def read(config: Config, files: Mapping[str, Sequence[Path]]) -> "tuple[dict[str, pl.DataFrame], dict[str, int]]":
    """Frames by split with ``key``, ``code_a``, ``code_b``, ``label`` and ``group``, and rows left out by reason.

    Args:
        config: of the task.
        files: paths by role; none where the source is on the hub.
    """
    from codekd.data.tasks import _clone_bench

    return _clone_bench.read(config, files)
