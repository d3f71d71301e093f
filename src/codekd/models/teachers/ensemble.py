"""Ensemble of teachers: the mean of its members' probabilities, made from the logits that are captured of each.

It gives logits alone and costs seconds. Each member's logits are first multiplied by a factor that is fitted on the
validation split, because otherwise the most confident member, and not the best one, would decide.
"""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from codekd.models.teachers.base import AnyTeacher

FLOOR = "floor"
"""Name of a task's n-gram floor among the members; no teacher can have this name."""


class Config(AnyTeacher):
    """Members of an ensemble, and their weights."""

    signals: ClassVar[tuple[str, ...] | None] = ("logits",)
    by: ClassVar[str] = "ensemble"
    trained: ClassVar[bool] = False

    kind: Literal["ensemble"] = "ensemble"
    members: tuple[str, ...] = Field(
        min_length=2, description="Names of teachers that are no ensembles themselves, and `floor` for the n-grams."
    )
    weights: tuple[Annotated[float, Field(gt=0)], ...] | Literal["validation"] | None = Field(
        None,
        description="What each member counts for, in their order; null for all alike, `validation` for the weights "
        "with the least cross-entropy on the validation split.",
    )

    @model_validator(mode="after")
    def _one_weight_a_member(self) -> Self:
        if twice := [name for name in self.members if self.members.count(name) > 1]:
            raise ValueError(f"{twice[0]} is a member twice; give it a weight instead")
        if isinstance(self.weights, tuple) and len(self.weights) != len(self.members):
            raise ValueError(
                f"`weights` must be {len(self.members)} numbers, one for each of {', '.join(self.members)}"
            )
        return self
