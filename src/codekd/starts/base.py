"""What every start of a student is: weights that its cells begin from, made once for all tasks of a vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from codekd.signals.base import Signal
from codekd.study.base import Model
from codekd.study.training import Training

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor
    from torch.nn import Module
    from transformers import PreTrainedModel

    from codekd.data.batches import Batch
    from codekd.models.head import ClassifierOutput

NUMBERS = {"epochs": 1, "learning_rate": 1e-3, "warmup": 0.05, "batch_size": 64, "word_dropout": 0.15}


class Start(Model):
    """How the weights of a student come about before it learns a task."""

    reads_code: ClassVar[bool] = False
    """Whether it is made from windows of code, see :mod:`codekd.data.windows`."""

    by_layer: ClassVar[bool] = False
    """Whether each of the student's layers learns from one of the teacher's, of which there must be as many."""

    kind: str = Field(description="Module in codekd.starts.")
    seed: int = Field(1, ge=0, description="Of the first weights, of the order and of what is hidden.")

    @property
    def teachers(self) -> tuple[str, ...]:
        """Name of the teacher that takes part, if one does."""
        return ()

    @property
    def taught_on(self) -> tuple[str, ...]:
        """Names of the tasks on which the teacher was fine-tuned; none where the pretrained encoder teaches."""
        return ()

    @property
    def of_tokens(self) -> bool:
        """Whether it is about the tokens of a learned vocabulary, which a student that reads lexemes has not."""
        return True

    def begin(self, model: PreTrainedModel, parents: Mapping[str, Path], spec: Mapping[str, Any]) -> dict[str, Any]:
        """Change the first weights of a student in place and return what is to be said of it; nothing by default.

        Args:
            model: the student with random weights.
            parents: folders of what the start reads, by role.
            spec: that of the start's node.
        """
        return {}


class TrainedStart(Start):
    """A start by training on windows of code, with or without a teacher's signals."""

    reads_code: ClassVar[bool] = True

    measure: ClassVar[str] = "accuracy"
    """Name of the score on held-out windows by which the best epoch is chosen."""

    relates_examples: ClassVar[bool] = False
    """Whether the loss depends on which windows are in a batch together."""

    corpora: tuple[str, ...] = Field(
        ("current",),
        min_length=1,
        description="Corpora whose functions it reads, those of packages for tests left out.",
    )
    windows: int | None = Field(
        50000, gt=0, description="How many windows of code it learns from, at most: its budget. Null takes all."
    )
    characters: int = Field(
        320, ge=32, description="Length of a window in characters; functions are cut between lines."
    )
    training: Training = Field(
        Training.model_validate(NUMBERS),
        description="Numbers of the training; `word_dropout` is the share of tokens that are hidden, and guessed.",
    )

    @field_validator("training", mode="before")
    @classmethod
    def _other_defaults(cls, training: Any) -> Any:
        return {**NUMBERS, **training} if isinstance(training, Mapping) else training

    @field_validator("training")
    @classmethod
    def _no_classes(cls, training: Training) -> Training:
        if training.class_weights:
            raise ValueError("`class_weights` must be left out: there are no classes before a task")
        return training

    @model_validator(mode="after")
    def _hides_what_is_guessed(self) -> Self:
        if self.masking and not self.training.word_dropout:
            raise ValueError("`training.word_dropout` must be more than 0: it is the share of tokens to guess")
        return self

    @property
    def masking(self) -> float:
        """Weight of masked language modelling."""
        return 1.0

    @property
    def of_tokens(self) -> bool:
        """Whether tokens are guessed."""
        return self.masking > 0

    def requests(self, layers: int) -> tuple[Signal, ...]:
        """What it reads of a teacher, for a student of so many layers; nothing by default."""
        return ()

    def parts(self, width: int, teacher: Mapping[str, tuple[int, ...]]) -> Module:
        """Layers that are trained with the student and thrown away after it; none by default.

        Args:
            width: that of the student's last states.
            teacher: shape of a row of each signal.
        """
        from torch.nn import Module

        return Module()

    def loss(self, output: ClassifierOutput, batch: Batch, parts: Module) -> Tensor:
        """What is added to the loss of masked language modelling; 0 by default.

        ``output`` has the student's states of what is shown, ``batch.teacher`` the rows of each signal.
        """
        return output.logits.new_zeros(())

    def likeness(self, output: ClassifierOutput, batch: Batch, parts: Module) -> Tensor:
        """The ``measure`` of each window ``(batch,)``, where that is not the accuracy of guessing."""
        raise NotImplementedError
