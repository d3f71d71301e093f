"""Base classes of the configs of tasks, and what a task shows of a function."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from codekd.data.languages import Language
from codekd.data.records import plain
from codekd.study.base import Model
from codekd.study.pooling import Shape

GIVES_UNLABELLED = ("train", "transfer")
"""Parts of the split whose packages give unlabelled examples."""


@dataclass(frozen=True)
class Shown:
    """Input of a model made from one function of a file.

    Attributes:
        code: as the task's examples have it.
        about: which part of the function the label is about, for the records of predictions.
    """

    code: str
    about: Mapping[str, Any] = field(default_factory=dict)


def as_it_is(code: str, line: int) -> list[Shown]:
    """Inputs of a model made from one function, for most tasks: its whole source.

    A task with other inputs, such as one for each ``except`` clause, has a function ``shown`` with these arguments.

    Args:
        code: source of the function.
        line: its first line in the file.
    """
    return [Shown(code)]


class Limits(Model):
    """Limits on the number of examples of each split; a smaller limit keeps a subset of what a larger one keeps."""

    train: int | None = Field(None, gt=0, description="Labelled training examples; null keeps all.")
    valid: int | None = Field(None, gt=0, description="Validation examples; null keeps all.")
    test: int | None = Field(None, gt=0, description="Test examples; null keeps all.")
    unlabeled: int | None = Field(None, ge=0, description="Unlabelled examples; null keeps all.")
    unlabeled_states: int | None = Field(
        None,
        ge=0,
        description="Unlabelled examples, the first ones, of which the teacher's states are kept, which take a hundred "
        "times what its logits do: methods that read states learn from these and the labelled ones; null for all.",
    )


class TaskConfig(Model):
    """Config of a task: where its examples come from, its classes and its metric.

    Class variables say what holds for all tasks of a kind: the corpora that examples are made from, the columns of
    code, whether the code has a ``__HOLE__``, its language (``plain`` is any other), whether the splits are those of a
    public dataset, in which code and groups may be in several splits, and the number of examples of these splits.
    """

    corpora: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[tuple[str, ...]] = ("code",)
    has_hole: ClassVar[bool] = False
    language: ClassVar[Language]
    official_splits: ClassVar[bool] = False
    published: ClassVar[Mapping[str, int]] = {}

    kind: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="Module in data/tasks that builds the examples.")
    examples: Limits = Field(Limits(), description="How many examples of each split are kept.")
    evaluated_per_group: int | None = Field(
        None,
        gt=0,
        description="Examples that a group (a package, a project) gives to valid and to test, at most, so that none "
        "outweighs the others; null for all.",
    )
    classes: tuple[str, ...] = Field(min_length=2, description="Names of the classes; a label is an index here.")
    metric: Literal["accuracy", "f1", "macro_f1"] = Field(
        description="Chooses the best epoch; f1 is that of the second of two classes."
    )
    max_length: int | None = Field(
        None,
        ge=16,
        description="Tokens of an example, at most; null leaves it to the models' own limits. Students that read "
        "lexemes have a limit of their own.",
    )

    @model_validator(mode="after")
    def _classes_fit(self) -> Self:
        if not all(name.strip() for name in self.classes):
            raise ValueError("`classes` have names: one is empty")
        if len(set(map(plain, self.classes))) < len(self.classes):
            raise ValueError(f"`classes` must differ, in more than how a number is written: {', '.join(self.classes)}")
        if self.metric == "f1" and len(self.classes) != 2:
            raise ValueError(f"`f1` is of two classes, and there are {len(self.classes)}: write macro_f1 or accuracy")
        return self

    @property
    def shape(self) -> Shape:
        """Shape of an example, which decides how a model pools its states: ``code``, ``hole`` or ``pair``."""
        if len(self.columns) == 2:
            return "pair"
        return "hole" if self.has_hole else "code"

    def local_files(self, folder: Path) -> Mapping[str, Sequence[Path]]:
        """Files of the user that the task is read from, by role; ``folder`` is that of the config file."""
        return {}

    def expected(self) -> Mapping[str, int]:
        """Number of examples of each split before any limit, where it is known before files are read."""
        return self.published

    def spec(self) -> dict[str, Any]:
        """Values of the config that determine the examples; the content of files is not among them."""
        return self.chosen({"metric": True, "max_length": True, "examples": {"unlabeled_states": True}})


class CorpusTask(TaskConfig):
    """Config of a task whose examples are made from functions of corpora, which give unlabelled examples too."""

    made: int = Field(
        0,
        ge=0,
        description="Examples that nobody wrote, at most, for the teacher to label: made from functions of training "
        "and transfer packages, beside those that `examples.unlabeled` limits.",
    )


class FileTask(TaskConfig):
    """Config of a task whose examples are read from existing files."""

    on_bad_rows: Literal["error", "skip"] = Field(
        "error", description="Whether a row that cannot be used stops the run or is left out and counted."
    )
