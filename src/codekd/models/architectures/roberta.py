"""RoBERTa students: a small transformer encoder trained from scratch."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from codekd.models.architectures.base import Architecture

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from codekd.models.vocabulary import Vocabulary


POSITIONS = 512
"""Smallest number of position embeddings, so that a student has the size of its name at any ``max_length``."""


class Config(Architecture):
    """Sizes of a RoBERTa student."""

    plain_pooling: ClassVar[str] = "first"

    heads: int = Field(ge=1, description="Attention heads; must divide hidden.")
    feed_forward: int | None = Field(
        default=None, ge=1, description="Width of the feed-forward layer; 4 x hidden unless given."
    )
    pooling: Literal["auto", "first", "mean", "max", "hole", "pair"] = Field(
        default="auto",
        description="Which state is classified: that of the first token, the mean, the maximum, that at __HOLE__, or "
        "the two sides of a pair compared; auto is hole or pair where the task has one, otherwise first.",
    )

    @model_validator(mode="after")
    def _heads_divide_hidden(self) -> Self:
        if self.hidden % self.heads:
            fitting = [heads for heads in range(1, self.hidden // 8 + 1) if self.hidden % heads == 0] or [1]
            raise ValueError(
                f"heads ({self.heads}) must divide hidden ({self.hidden}): {', '.join(map(str, fitting))} would fit"
            )
        return self

    def weights_per_token(self) -> int:
        """Weights of attention's four projections and of the feed-forward layer."""
        return self.layers * self.hidden * (4 * self.hidden + 2 * (self.feed_forward or 4 * self.hidden))

    def build(self, vocabulary: Vocabulary, classes: int, pooling: str) -> PreTrainedModel:
        """Build a RoBERTa encoder with a classification head and random weights."""
        from transformers import RobertaConfig

        from codekd.models.encoder import EncoderConfig, EncoderForSequenceClassification

        encoder = RobertaConfig(
            # Hashed embeddings replace those of tokens where the student reads lexemes.
            vocab_size=1 if self.lexemes else vocabulary.size,
            hidden_size=self.hidden,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            intermediate_size=self.feed_forward or 4 * self.hidden,
            hidden_dropout_prob=self.dropout,
            attention_probs_dropout_prob=self.dropout,
            # RoBERTa counts positions from the padding token's id on.
            max_position_embeddings=max(self.max_length, POSITIONS) + vocabulary.pad_id + 1,
            type_vocab_size=1,
            pad_token_id=vocabulary.pad_id,
            bos_token_id=None,
            eos_token_id=None,
        )
        return EncoderForSequenceClassification(
            EncoderConfig(
                encoder=encoder,
                num_labels=classes,
                pooling=pooling,
                hole_token_id=vocabulary.hole_id,
                lexemes=self.lexemes and self.lexemes.model_dump(),
                sides_apart=vocabulary.sides_apart,
                classifier_dropout=self.dropout,
            )
        )
