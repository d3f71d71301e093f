"""Base of all teachers' definitions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from codekd.study.base import Model
from codekd.study.pooling import Shape, resolve_pooling
from codekd.study.training import Training

NUMBERS = {"epochs": 1, "learning_rate": 1e-4, "word_dropout": 0.15}


class Adaptation(Model):
    """Masked-language-model training of the encoder on the code of train packages, before any task."""

    corpora: tuple[str, ...] = Field(("current",), min_length=1, description="Corpora whose functions it reads.")
    functions: int | None = Field(None, gt=0, description="How many functions, at most; null takes all.")
    max_length: int = Field(128, ge=16, description="Tokens of a function, at most.")
    seed: int = Field(1, ge=0, description="Of the order and of what is masked.")
    training: Training = Field(
        Training.model_validate(NUMBERS),
        description="Numbers of the training; `word_dropout` is the share that is masked.",
    )

    @field_validator("training", mode="before")
    @classmethod
    def _other_defaults(cls, training: Any) -> Any:
        return {**NUMBERS, **training} if isinstance(training, Mapping) else training

    @field_validator("training")
    @classmethod
    def _masks_something(cls, training: Training) -> Training:
        if not training.word_dropout:
            raise ValueError("`word_dropout` must be more than 0: it is the share of tokens to guess")
        if training.class_weights:
            raise ValueError("`class_weights` must be left out: there are no classes before a task")
        return training


class AnyTeacher(Model):
    """Definition of a teacher: a model, or an ensemble that names its teachers in a field ``members``.

    Class variables:
        signals: kinds of signals that it has; None for all.
        by: module in codekd.signals that makes them.
        trained: whether it is fine-tuned on each task.
    """

    signals: ClassVar[tuple[str, ...] | None] = None
    by: ClassVar[str] = "finetuned"
    trained: ClassVar[bool] = True

    kind: str = Field(description="Where the pretrained encoder comes from.")

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the teachers that it is made of; none for a model of its own."""
        return getattr(self, "members", ())


class Teacher(AnyTeacher):
    """A pretrained encoder that is fine-tuned on each task, or another model that teaches."""

    layers: int = Field(ge=1, description="Number of layers; the encoder must have as many.")
    width: int = Field(ge=1, description="Width of a layer's states; the encoder must have the same.")
    prefix: tuple[str, ...] = Field((), description="Tokens between the first one and the code.")
    adaptation: Adaptation | None = Field(None, description="Training on code before any task; null for none.")
    max_length: int = Field(512, ge=16, description="Longest input in tokens; longer code is cut.")
    dropout: float | None = Field(
        None, ge=0, lt=1, description="Dropout while fine-tuning; null keeps the encoder's own. On CPU 0 is faster."
    )
    pooling: Literal["auto", "first", "mean", "max", "hole", "pair"] = Field(
        "auto", description="State that is classified; auto is hole or pair where the task has one, else plain_pooling."
    )
    plain_pooling: Literal["first", "mean", "max"] = Field(
        "mean", description="What `auto` is for a single piece of code without a hole."
    )

    seed: int = Field(1, ge=0, lt=2**31, description="Of the head's weights, the order and dropout while fine-tuning.")

    def local_files(self, folder: Path) -> Mapping[str, Sequence[Path]]:
        """The user's files that it is made from, by role; ``folder`` is that of the config file."""
        return {}

    def pooling_for(self, shape: Shape) -> str:
        """Pooling on a task whose examples have a shape: code, code with a hole, or a pair.

        Raises:
            CodekdError: the pooling is for another shape.
        """
        return resolve_pooling(self.kind, self.pooling, shape, self.plain_pooling)
