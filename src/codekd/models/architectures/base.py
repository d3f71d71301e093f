"""Base of all student architectures' definitions."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, model_validator

from codekd.study.base import Model
from codekd.study.pooling import Shape, resolve_pooling

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from codekd.models.vocabulary import Vocabulary


LONGEST_IN_LEXEMES = 128
"""Default of ``max_length`` for students that read lexemes."""


class Lexemes(Model):
    """Hashed embedding of lexemes, without a vocabulary: a run of lexemes has a few embeddings, which others share."""

    buckets: int = Field(default=8192, ge=256, le=2**24, description="Embeddings that all runs share.")
    width: int = Field(default=64, ge=1, description="Width of an embedding.")
    longest: int = Field(default=3, ge=1, le=8, description="Lexemes in the longest run that begins at each of them.")
    hashes: int = Field(default=2, ge=1, le=8, description="Embeddings of a run; two runs seldom share all of them.")


class Architecture(Model):
    """Sizes of a student; ``build`` makes a model of them."""

    plain_pooling: ClassVar[str]
    """Pooling that ``auto`` stands for on a single piece of code without a hole."""

    recurrent: ClassVar[bool | None] = False
    """Whether CPUs read its tokens one after the other, and use no bf16 units for it; False for a transformer.

    None for an architecture that is neither, and gains nothing from bf16 units.
    """

    kind: str = Field(description="Module in codekd.models.architectures.")
    vocabulary_size: int | None = Field(
        default=None, ge=300, description="Size of the byte-level BPE trained for this student; or give `lexemes`."
    )
    lexemes: Lexemes | None = Field(
        default=None,
        description="Reads lexemes by hashed runs, without a vocabulary, where this is given (`{}` for its defaults); "
        "the sides of a pair are encoded apart.",
    )
    max_length: int = Field(
        default=512,
        ge=8,
        description="Longest input in tokens, special tokens included; more is cut. With `lexemes` 128 unless given: "
        "lexemes of each piece of code, which a task's `max_length` does not cut.",
    )
    layers: int = Field(ge=1, description="Number of layers.")
    hidden: int = Field(ge=1, description="Width of a layer's states (BiGRU: of each direction).")
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="Dropout probability; on CPU a transformer trains faster with 0."
    )
    pooling: str = Field(default="auto", description="Which state is classified.")

    @model_validator(mode="before")
    @classmethod
    def _length_in_lexemes(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("lexemes") is not None:
            return {"max_length": LONGEST_IN_LEXEMES, **values}
        return values

    @model_validator(mode="after")
    def _reads_one_thing(self) -> Self:
        if self.lexemes is None and self.vocabulary_size is None:
            raise ValueError(
                "what does it read? write `vocabulary_size: 2000` for tokens of a learned vocabulary, or `lexemes: {}`"
            )
        if self.lexemes is not None and self.vocabulary_size is not None:
            raise ValueError(
                "it reads tokens (`vocabulary_size`) or `lexemes`, not both: remove one, or write "
                "`vocabulary_size: null` to undo a preset's"
            )
        return self

    def settings(self) -> dict[str, Any]:
        """Settings that determine the model, without its pooling: what ``auto`` means depends on the task."""
        return self.chosen(exclude={"pooling"})

    def pooling_for(self, shape: Shape) -> str:
        """Pooling on a task whose examples have a shape: code, code with a hole, or a pair.

        Raises:
            CodekdError: the pooling is for another shape.
        """
        return resolve_pooling(self.kind, self.pooling, shape, self.plain_pooling)

    @abstractmethod
    def weights_per_token(self) -> int:
        """Number of weights that every token passes through, less embeddings and head: training costs grow with it."""

    @abstractmethod
    def build(self, vocabulary: Vocabulary, classes: int, pooling: str) -> PreTrainedModel:
        """Build a student with random weights, drawn from PyTorch's global generator alone.

        Args:
            vocabulary: that of the trained tokenizer or of the lexer.
            classes: number of classes.
            pooling: result of :meth:`pooling_for`.
        """
