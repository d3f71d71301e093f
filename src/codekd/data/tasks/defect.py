"""Defect detection with injected operator bugs: is there a wrong operator, or were operands swapped?

CuBERT's recipes (Kanade et al. 2020): half of the functions get one bug. Both classes go through
``ast.unparse``, since layout would tell them apart.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from codekd.data.tasks.base import CorpusTask, Language, Shown

if TYPE_CHECKING:
    import polars as pl


class Config(CorpusTask):
    """Defect detection on the pinned wheels: was an operator bug injected into a function?"""

    corpora: ClassVar[tuple[str, ...]] = ("current",)
    language: ClassVar[Language] = "python"

    kind: Literal["defect"] = "defect"
    classes: tuple[str, str] = Field(("clean", "defect"), min_length=2, description="Two classes.")
    metric: Literal["accuracy", "f1", "macro_f1"] = Field("accuracy", description="Chooses the best epoch.")
    bugs: tuple[Literal["operator", "swapped"], ...] = Field(
        ("swapped", "operator"),
        min_length=1,
        description="Bugs to inject, the rarer first: a function is used for the first that it has a place for.",
    )
    max_characters: int = Field(500, gt=0, description="Length of a function, at most, so that no bug is cut off.")
    per_package: int = Field(200, gt=0, description="Labelled functions a package gives, at most.")
    unlabeled_per_package: int = Field(600, ge=0, description="Further functions a training package gives, at most.")


def shown(code: str, line: int) -> list[Shown]:
    """Input of a model made from one function: its source without docstring, in the layout of ``ast.unparse``.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: ``code`` is no valid Python.
    """
    from codekd.data.bare import undocumented

    return [Shown(undocumented(code))]


def build(config: Config, corpora: Mapping[str, Path], split: Mapping[str, str]) -> "dict[str, pl.DataFrame]":
    """Frames ``train``, ``valid``, ``test`` and ``unlabeled`` with ``code``, ``label``, ``group``, ``kind``.

    A function is one example, for one kind of bug, and whether it gets the bug is drawn by hash: ``kind`` is
    known of clean functions too, and both classes come from the same functions. Each kind has an equal share of a
    package's examples where the package has enough places for it. Synthetic examples, in the frame ``made``, are all
    other functions of the training packages, with and without a bug, and of those that are examples the other variant.

    Args:
        config: of the task.
        corpora: folders of the ``corpus`` nodes by name.
        split: part of every package: ``train``, ``valid``, ``test`` or ``transfer``.
    """
    from codekd.data.tasks import _injected_bugs

    return _injected_bugs.frames(config, corpora, split)
