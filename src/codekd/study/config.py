"""Typed models of the config file, and the study that a config resolves to."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StringConstraints, field_validator

from codekd.data.pins import Pin
from codekd.study.base import Model
from codekd.study.training import Training

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9._-]{0,38}[a-z0-9])?$")]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Values = dict[str, Annotated[list[Any], Field(min_length=1)]]
Definitions = dict[Name, dict[str, Any]]


class Grid(Model):
    """Grid of the study: one student is trained for every combination of these names and seeds."""

    tasks: list[Name] = Field(min_length=1, description="Names of tasks.")
    teachers: list[Name] = Field(min_length=1, description="Names of teachers.")
    students: list[Name] = Field(min_length=1, description="Names of students.")
    methods: list[Name] = Field(min_length=1, description="Names of methods; `ft` is trained once for all teachers.")
    seeds: list[Seed] = Field(min_length=1, description="One cell a seed.")

    @field_validator("*")
    @classmethod
    def _once(cls, values: list[str] | list[int]) -> list[str] | list[int]:
        if twice := [value for value, count in Counter(values).items() if count > 1]:
            raise ValueError(f"{twice[0]} stands there twice")
        return values


class Corpus(Model):
    """Corpus of source code: pinned Python wheels, whose functions the tasks are made of."""

    pins: str | list[str] = Field(description="pip requirements files with hashes, relative to the config file.")
    packages: list[str] | None = Field(None, min_length=1, description="Use only these packages of the lists.")


class Search(Model):
    """Search of settings by validation score, with a choice for each task, teacher, student and method.

    Every combination of the values is tried once, with the seed given here; trials never read the test split. The
    students of the study are trained with the chosen values.
    """

    seed: Seed = Field(0, description="Seed of the trials.")
    training: Values = Field({}, description="Training numbers and the values to try for every student.")
    students: dict[Name, Values] = Field({}, description="The same for one student, in the place of those for all.")
    methods: dict[Name, Values] = Field({}, description="Settings of a method and the values to try.")


class StudyFile(Model):
    """Config of a study. Names in `grid` refer to definitions: presets of the package, overridden or extended here."""

    name: Name = Field(description="Name of the study; its report is filed under it.")
    grid: Grid = Field(description="What is combined with what.")
    corpora: dict[Name, Corpus] = Field(
        default={}, description="Sources of code, by the names under which the embedded tasks read them."
    )
    split: str | None = Field(
        default=None,
        description="JSON file that puts each package of the corpora into train, valid, test or transfer, relative "
        "likewise; transfer packages give unlabelled examples only.",
    )
    vocabularies: dict[Name, list[Name]] = Field(
        default={"functions": ["defect", "clone"], "exceptions": ["exception"]},
        description="Groups of tasks that share a student vocabulary, learnt from their train code.",
    )
    inference: bool = Field(
        default=False,
        description="Whether to measure how fast every student answers, in turns with its teacher; no other job of the "
        "study runs meanwhile.",
    )
    taught_floor: bool = Field(
        default=False,
        description="Whether to fit the n-grams on what every teacher says of the transfer set too, as small students "
        "are: what they reach then stands beside what they reach on the labels.",
    )
    training: dict[str, Any] = Field(default={}, description="Training numbers for all students of this study.")
    search: Search = Field(default=Search(), description="Values to choose from by validation score.")
    tasks: Definitions = Field(default={}, description="Tasks: presets overridden, or new ones.")
    teachers: Definitions = Field(default={}, description="Teachers: presets overridden, or new ones.")
    students: Definitions = Field(default={}, description="Students: presets overridden, or new ones.")
    methods: Definitions = Field(default={}, description="Methods: presets overridden, or new ones.")


@dataclass(frozen=True)
class Trained:
    """Resolved definition of a teacher or a student.

    ``component`` is the ``Config`` of its kind; ``training`` has its training numbers, and ``by_task`` those of tasks
    with numbers of their own. Of a student, ``start`` is the ``Config`` of a kind in codekd.starts, random weights if
    None; ``methods`` are the methods of the grid that it is trained with, all if None; and ``unlabeled`` is how many of
    the unlabelled examples it learns from, the first ones, all if None.
    """

    component: Any
    training: Training
    start: Any = None
    methods: tuple[str, ...] | None = None
    unlabeled: int | None = None
    by_task: Mapping[str, Training] = field(default_factory=dict)

    def training_on(self, task: str) -> Training:
        """Training numbers on a task."""
        return self.by_task.get(task, self.training)


@dataclass(frozen=True)
class Study:
    """Study from which the graph is built: a config with every name resolved and every default filled in.

    ``folder`` is where relative paths start; ``split`` maps packages of the corpora to train, valid, test or transfer;
    ``tasks`` and ``methods`` map names to the ``Config`` of their kind.
    """

    name: str
    folder: Path
    grid: Grid
    corpora: dict[str, list[Pin]]
    split: dict[str, str]
    vocabularies: dict[str, list[str]]
    inference: bool
    taught_floor: bool
    search: Search
    tasks: dict[str, Any]
    teachers: dict[str, Trained]
    students: dict[str, Trained]
    methods: dict[str, Any]

    def methods_of(self, student: str) -> list[str]:
        """Methods of the grid that a student is trained with."""
        own = self.students[student].methods
        return [method for method in self.grid.methods if own is None or method in own]
