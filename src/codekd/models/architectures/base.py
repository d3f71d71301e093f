"""What the definitions of all student architectures share."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from codekd.study.base import Model
from codekd.study.pooling import Shape, resolve_pooling

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from codekd.models.vocabulary import Vocabulary


class Architecture(Model):
    """Sizes of a student; ``build`` makes one of them."""

    plain_pooling: ClassVar[str]
    """What ``auto`` means for a single piece of code without a hole."""

    recurrent: ClassVar[bool] = False
    """Whether CPUs read its tokens one after the other, for which they use no bf16 units."""

    kind: str = Field(description="Module in codekd.models.architectures.")
    vocabulary_size: int = Field(ge=300, description="Size of the byte-level BPE trained for this student.")
    max_length: int = Field(
        default=512, ge=8, description="Longest input in tokens, special tokens included; more is cut."
    )
    layers: int = Field(ge=1, description="Number of layers.")
    hidden: int = Field(ge=1, description="Width of a layer's states (BiGRU: of each direction).")
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="Dropout probability; on CPU a transformer trains faster with 0."
    )
    pooling: str = Field(default="auto", description="Which state is classified.")

    def pooling_for(self, shape: Shape) -> str:
        """The pooling on a task whose examples have this shape.

        Raises:
            CodekdError: the pooling is for another shape.
        """
        return resolve_pooling(self.kind, self.pooling, shape, self.plain_pooling)

    @abstractmethod
    def weights_per_token(self) -> int:
        """Weights that every token goes through, embeddings and head left out: what the cost of training grows with."""

    @abstractmethod
    def build(self, vocabulary: Vocabulary, classes: int, pooling: str) -> PreTrainedModel:
        """A student with random weights, drawn from torch's global generator alone.

        ``vocabulary`` is that of the trained tokenizer, ``pooling`` what ``pooling_for`` gave.
        """
