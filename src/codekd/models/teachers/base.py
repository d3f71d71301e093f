"""What every teacher definition has."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from codekd.study.base import Model
from codekd.study.pooling import Shape, resolve_pooling


class Teacher(Model):
    """A pretrained encoder that is fine-tuned on each task, or another model that teaches.

    The class variables say which signals it has (None for all), the module in codekd.signals that makes them, and
    whether it is trained.
    """

    signals: ClassVar[tuple[str, ...] | None] = None
    by: ClassVar[str] = "finetuned"
    trained: ClassVar[bool] = True

    kind: str = Field(description="Where the pretrained encoder comes from.")
    layers: int = Field(ge=1, description="Number of layers; the encoder must have as many.")
    width: int = Field(ge=1, description="Width of a layer's states; the encoder must have the same.")
    prefix: tuple[str, ...] = Field((), description="Tokens between the first one and the code.")
    max_length: int = Field(512, ge=16, description="Longest input in tokens; longer code is cut.")
    dropout: float | None = Field(
        None, ge=0, lt=1, description="Dropout while fine-tuning; null keeps the encoder's own. On CPU 0 is faster."
    )
    pooling: Literal["auto", "first", "mean", "hole", "pair"] = Field(
        "auto", description="State that is classified; auto is hole or pair where the task has one, otherwise the mean."
    )

    def local_files(self, folder: Path) -> Mapping[str, Sequence[Path]]:
        """The user's files that it is made from, by role; ``folder`` is that of the config file."""
        return {}

    def pooling_for(self, shape: Shape) -> str:
        """The pooling on a task whose examples have this shape.

        Raises:
            CodekdError: the pooling is for another shape.
        """
        return resolve_pooling(self.kind, self.pooling, shape, "mean")
