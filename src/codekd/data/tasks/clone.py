"""Release-evolution clones: are these two versions of one function, or two functions that look alike?

Positive pairs are a function in an earlier and in the current release of its package, after both lost
docstrings, comments, decorators, annotations and the function's own name; negative pairs are the earlier
function and its nearest neighbour of another name. This is not BigCloneBench; only its types of clones by
line similarity are used (Svajlenko et al. 2014, "Towards a Big Data Curated Benchmark of Inter-Project Code
Clones").
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from codekd.data.tasks.base import CorpusTask, Language, Shown

if TYPE_CHECKING:
    import polars as pl


class Config(CorpusTask):
    """Clone detection on the pinned wheels: two releases of one function, or two that look alike?"""

    corpora: ClassVar[tuple[str, ...]] = ("current", "previous")
    language: ClassVar[Language] = "python"
    columns: ClassVar[tuple[str, ...]] = ("code_a", "code_b")

    kind: Literal["clone"] = "clone"
    classes: tuple[str, str] = Field(("different", "clone"), min_length=2, description="Two classes.")
    metric: Literal["accuracy", "f1", "macro_f1"] = Field("f1", description="Chooses the best epoch.")
    min_lines: int = Field(6, ge=1, description="Lines of both functions, at least, without docstring.")
    max_lines: int = Field(100, ge=1, description="Lines of both functions, at most, without docstring.")
    similarity_below: float = Field(
        0.7, gt=0, le=1, description="Pairs with a lower line similarity are labelled; 1.0 takes every type."
    )
    per_package: int | None = Field(400, gt=0, description="Labelled clones a package gives; null for all.")
    evaluated_per_group: int | None = Field(
        120, gt=0, description="Pairs that a package gives to valid and to test, at most; null for all."
    )
    negatives: int = Field(1, ge=1, description="Neighbours of another name for every labelled clone.")


def shown(code: str, line: int) -> list[Shown]:
    """Input of a model made from one function: its bare code, as pairs have it.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: ``code`` is no valid Python.
    """
    from codekd.data.bare import bare

    return [Shown(bare(code))]


def build(config: Config, corpora: Mapping[str, Path], split: Mapping[str, str]) -> "dict[str, pl.DataFrame]":
    """Frames ``train``, ``valid``, ``test``, ``unlabeled`` with ``code_a``, ``code_b``, ``label``, ``group``, ``type``.

    ``type`` is VST3, ST3, MT3 or WT3T4 for clones, from the most to the least alike, and ``negative``. Unlabelled are
    the other pairs of the training packages, of every type, and their neighbours. Synthetic pairs, in the frame
    ``made``, are a function of these packages with its other release under other names (``renamed``), or with a further
    neighbour (``neighbour``).

    Args:
        config: of the task.
        corpora: folders of the ``corpus`` nodes by name.
        split: part of every package: ``train``, ``valid``, ``test`` or ``transfer``.
    """
    from codekd.data.tasks import _clone_pairs

    return _clone_pairs.frames(config, corpora, split)
