"""Base of all starts: initial weights of a student, made once for all tasks of a vocabulary."""

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
    """Recipe for the weights that a student begins from, before it learns a task."""

    reads_code: ClassVar[bool] = False
    """Whether the start is made from windows of code, see :mod:`codekd.data.windows`."""

    by_layer: ClassVar[bool] = False
    """Whether each of the student's layers learns from one of the teacher's, which must have at least as many."""

    kind: str = Field(description="Module in codekd.starts.")
    seed: int = Field(1, ge=0, description="Of the first weights, of the order and of what is hidden.")

    @property
    def teachers(self) -> tuple[str, ...]:
        """Name of the teacher that takes part, as a tuple; empty if none does."""
        return ()

    @property
    def taught_on(self) -> tuple[str, ...]:
        """Names of the tasks on which the teacher was fine-tuned; none where the pretrained encoder teaches."""
        return ()

    @property
    def of_tokens(self) -> bool:
        """Whether the start needs the tokens of a learned vocabulary, which a student that reads lexemes has not."""
        return True

    def begin(self, model: PreTrainedModel, parents: Mapping[str, Path], spec: Mapping[str, Any]) -> dict[str, Any]:
        """Change a student's random weights in place; nothing by default.

        Args:
            model: the student with random weights.
            parents: folders of what the start reads, by role.
            spec: spec of the start's node.

        Returns:
            Numbers for the manifest.
        """
        return {}


class TrainedStart(Start):
    """Start by training on windows of code, with or without a teacher's signals."""

    reads_code: ClassVar[bool] = True

    measure: ClassVar[str] = "accuracy"
    """Name of the score on held-out windows by which the best epoch is chosen."""

    relates_examples: ClassVar[bool] = False
    """Whether the loss depends on which windows share a batch."""

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
        """Whether hidden tokens are guessed."""
        return self.masking > 0

    def requests(self, layers: int) -> tuple[Signal, ...]:
        """Signals that are read of a teacher, for a student of so many layers; none by default."""
        return ()

    def parts(self, width: int, teacher: Mapping[str, tuple[int, ...]]) -> Module:
        """Build layers that are trained with the student and then thrown away; none by default.

        Args:
            width: width of the student's last states.
            teacher: shape of a row of each signal, by kind.
        """
        from torch.nn import Module

        return Module()

    def loss(self, output: ClassifierOutput, batch: Batch, parts: Module) -> Tensor:
        """Loss that is added to that of masked language modelling, a scalar; 0 by default.

        Args:
            output: the student's, with its states of the window in which tokens are hidden.
            batch: ``teacher`` has the rows of each signal.
            parts: layers from :meth:`parts`.
        """
        return output.logits.new_zeros(())

    def likeness(self, output: ClassifierOutput, batch: Batch, parts: Module) -> Tensor:
        """Score ``measure`` of each window, ``(batch,)``, where that is not the accuracy of guessing."""
        raise NotImplementedError
