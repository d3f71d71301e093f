"""Convolutional students: convolutions, self-attention if wanted, and attention pooling, trained from scratch."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from codekd.models.architectures.base import Architecture

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from codekd.models.vocabulary import Vocabulary


class Config(Architecture):
    """Sizes of a convolutional student.

    Its head reads means of the last states with learned weights, their maximum and, where there is one, the state at
    ``__HOLE__``.
    """

    plain_pooling: ClassVar[str] = "mean"
    recurrent: ClassVar[bool | None] = None

    kernel: int = Field(default=5, ge=1, description="Positions that a convolution sees, an odd number.")
    feed_forward: int | None = Field(default=None, ge=1, description="Width inside a layer; 2 x hidden unless given.")
    attention: int = Field(
        default=0, ge=0, description="How many of the layers, the last ones, are of self-attention, not of convolution."
    )
    heads: int = Field(
        default=4, ge=1, description="Heads of self-attention, and means with weights of their own that are classified."
    )
    head_width: int = Field(default=192, ge=1, description="Width of the hidden layer of the classification head.")
    pooling: Literal["auto", "mean", "max", "hole", "pair"] = Field(
        default="auto",
        description="Which state of a layer hints are about: the mean, the maximum, that at __HOLE__, or the two sides "
        "of a pair compared; auto is hole or pair where the task has one, otherwise mean.",
    )

    @field_validator("kernel")
    @classmethod
    def _odd(cls, kernel: int) -> int:
        if kernel % 2 == 0:
            raise ValueError(f"a convolution has a centre: write {kernel - 1} or {kernel + 1}")
        return kernel

    @model_validator(mode="after")
    def _layers_fit(self) -> Self:
        if self.attention > self.layers:
            raise ValueError(f"`attention` ({self.attention}) is a number of the layers ({self.layers})")
        if self.attention and self.hidden % self.heads:
            raise ValueError(f"`heads` ({self.heads}) must divide `hidden` ({self.hidden})")
        return self

    def weights_per_token(self) -> int:
        """Weights of the layers, and of the linear map from the width of lexemes' embeddings to that of states."""
        widen = self.hidden * self.lexemes.width if self.lexemes and self.lexemes.width != self.hidden else 0
        across = (self.layers - self.attention) * self.kernel + self.attention * 4 * self.hidden
        return widen + self.hidden * (across + 2 * self.layers * (self.feed_forward or 2 * self.hidden))

    def build(self, vocabulary: Vocabulary, classes: int, pooling: str) -> PreTrainedModel:
        """Build a convolutional model with a classification head and random weights."""
        from codekd.models.conv import ConvConfig, ConvForSequenceClassification

        return ConvForSequenceClassification(
            ConvConfig(
                lexemes=self.lexemes and self.lexemes.model_dump(),
                vocab_size=vocabulary.size,
                pad_token_id=vocabulary.pad_id,
                hidden_size=self.hidden,
                num_hidden_layers=self.layers,
                num_attention_layers=self.attention,
                kernel_size=self.kernel,
                intermediate_size=self.feed_forward or 2 * self.hidden,
                attention_heads=self.heads,
                head_size=self.head_width,
                max_positions=self.max_length,
                dropout=self.dropout,
                num_labels=classes,
                pooling=pooling,
                hole_token_id=vocabulary.hole_id,
                sides_apart=vocabulary.sides_apart,
            )
        )
