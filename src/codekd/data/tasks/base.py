"""What every task's config has."""

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
    """What a model is shown of a function; ``about`` says which part of it is asked about."""

    code: str
    about: Mapping[str, Any] = field(default_factory=dict)


def as_it_is(code: str, line: int) -> list[Shown]:
    """What most tasks show of a function that begins on a line of a file: all of it.

    A task that shows something else, such as one question for each clause, has a function ``shown`` that says so.
    """
    return [Shown(code)]


class Limits(Model):
    """How many examples of each split are kept; a smaller limit keeps a subset of what a larger one keeps."""

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
    """A task: where its examples come from, its classes and its metric.

    The class variables say what holds for the kind as such: the corpora it is made from, the columns of its
    input, whether that input has a ``__HOLE__``, its language (``plain`` is any other), and whether its splits are
    those of a public dataset, in which anything may be twice, and how many examples those have.
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
        """What an example is, for those who pool its states."""
        if len(self.columns) == 2:
            return "pair"
        return "hole" if self.has_hole else "code"

    def local_files(self, folder: Path) -> Mapping[str, Sequence[Path]]:
        """The user's files that it is made from, by role; ``folder`` is that of the config file."""
        return {}

    def expected(self) -> Mapping[str, int]:
        """Examples of each split, before any limit, where that is known before they are read."""
        return self.published

    def spec(self) -> dict[str, Any]:
        """What determines the examples, but for the content of files."""
        return self.chosen({"metric": True, "max_length": True, "examples": {"unlabeled_states": True}})


class CorpusTask(TaskConfig):
    """A task whose examples are cut from the functions of corpora, which give more than are labelled."""

    made: int = Field(
        0,
        ge=0,
        description="Examples that nobody wrote, at most, for the teacher to label: made from functions of training "
        "and transfer packages, beside those that `examples.unlabeled` limits.",
    )


class FileTask(TaskConfig):
    """A task that is read from files that others wrote."""

    on_bad_rows: Literal["error", "skip"] = Field(
        "error", description="Whether a row that cannot be used stops the run or is left out and counted."
    )
