"""BiGRU students: a bidirectional GRU trained from scratch."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from codekd.models.architectures.base import Architecture

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from codekd.models.vocabulary import Vocabulary


class Config(Architecture):
    """Sizes of a BiGRU student."""

    plain_pooling: ClassVar[str] = "final"
    recurrent: ClassVar[bool | None] = True

    pooling: Literal["auto", "final", "mean", "max", "hole", "pair"] = Field(
        default="auto",
        description="Which state is classified: the final one of each direction, the mean, the maximum, that at "
        "__HOLE__, or the two sides of a pair compared; auto is hole or pair where the task has one, otherwise final.",
    )

    def weights_per_token(self) -> int:
        """Weights of three gates in each direction, over the layer's input and its own state."""
        inputs = (self.lexemes.width if self.lexemes else self.hidden) + (self.layers - 1) * 2 * self.hidden
        return 2 * 3 * self.hidden * (inputs + self.layers * self.hidden)

    def build(self, vocabulary: Vocabulary, classes: int, pooling: str) -> PreTrainedModel:
        """Build a BiGRU with a classification head and random weights."""
        from codekd.models.bigru import BiGRUConfig, BiGRUForSequenceClassification

        return BiGRUForSequenceClassification(
            BiGRUConfig(
                vocab_size=vocabulary.size,
                pad_token_id=vocabulary.pad_id,
                hidden_size=self.hidden,
                num_hidden_layers=self.layers,
                dropout=self.dropout,
                num_labels=classes,
                pooling=pooling,
                hole_token_id=vocabulary.hole_id,
                lexemes=self.lexemes and self.lexemes.model_dump(),
                sides_apart=vocabulary.sides_apart,
            )
        )
