"""Exception classification: which exception type did the author catch?

CuBERT's recipe (Kanade et al. 2020, "Learning and Evaluating Contextual Embedding of Source Code"): one
example per ``except`` clause with a single type among twenty, shown in its innermost function with the whole
type expression replaced by ``__HOLE__``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from codekd.data.tasks.base import CorpusTask, Language, Shown

if TYPE_CHECKING:
    import polars as pl

CLASSES = (
    *("ValueError", "KeyError", "AttributeError", "TypeError", "OSError", "IOError", "ImportError"),
    *("IndexError", "DoesNotExist", "KeyboardInterrupt", "StopIteration", "AssertionError", "SystemExit"),
    *("RuntimeError", "HTTPError", "UnicodeDecodeError", "NotImplementedError", "ValidationError"),
    *("ObjectDoesNotExist", "NameError"),
)


class Config(CorpusTask):
    """Exception classification on the pinned wheels: which exception type did the author catch?"""

    corpora: ClassVar[tuple[str, ...]] = ("current", "previous")
    language: ClassVar[Language] = "python"
    has_hole: ClassVar[bool] = True

    kind: Literal["exception"] = "exception"
    classes: tuple[str, ...] = Field(CLASSES, min_length=2, description="Exception types, by their last name.")
    metric: Literal["accuracy", "f1", "macro_f1"] = Field("accuracy", description="Chooses the best epoch.")
    evaluated_per_group: int | None = Field(
        200, gt=0, description="Examples that a package gives to valid and to test, at most; null for all."
    )


def shown(code: str, line: int) -> list[Shown]:
    """Inputs of a model made from one function: one for each ``except`` clause, with its line and what it catches.

    Args:
        code: source of the function.
        line: its first line in the file.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: ``code`` is no valid Python.
    """
    from codekd.data.tasks._except_clauses import clauses_of

    return [
        Shown(clause.text, {"clause": line + clause.before.count("\n"), "caught": clause.type})
        for clause in clauses_of(code)
    ]


def build(config: Config, corpora: Mapping[str, Path], split: Mapping[str, str]) -> "dict[str, pl.DataFrame]":
    """Frames ``train``, ``valid``, ``test`` and ``unlabeled`` with ``code``, ``label``, ``group``, ``type``.

    An earlier release adds the functions that have no example in the current one. Functions that differ in
    comments or layout only are one example. Unlabelled are all other clauses of the training packages: bare
    ones, tuples, other types. Synthetic examples, in the frame ``made`` and of type ``made``, are functions without a
    clause, in which a ``try`` is put round statements that may raise something, with the handler of a clause of the
    same package.

    Args:
        config: of the task.
        corpora: folders of the ``corpus`` nodes by name.
        split: part of every package: ``train``, ``valid``, ``test`` or ``transfer``.
    """
    from codekd.data.tasks import _except_clauses

    return _except_clauses.frames(config, corpora, split)
