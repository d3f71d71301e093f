"""What every teacher definition has."""

from typing import Literal

from pydantic import Field

from codekd.study.base import Model


class Teacher(Model):
    """A pretrained encoder that is fine-tuned on each task."""

    kind: str = Field(description="Where the pretrained encoder comes from.")
    max_length: int = Field(128, ge=16, description="Longest input in tokens; longer code is cut.")
    dropout: float | None = Field(
        None, ge=0, lt=1, description="Dropout while fine-tuning; null keeps the encoder's own. On CPU 0 is faster."
    )
    pooling: Literal["auto", "first", "mean", "hole"] = Field(
        "auto",
        description="State that is classified; auto: at the hole where the task has one, otherwise the mean.",
    )

    def pooling_for(self, has_hole: bool) -> str:
        """The pooling used on a task."""
        if self.pooling != "auto":
            return self.pooling
        return "hole" if has_hole else "mean"
