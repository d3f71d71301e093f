"""Soft targets of other examples: a control for what a teacher's logits say beyond its hard label."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from codekd.methods import kd


class Config(kd.Config):
    """``kd`` with the teacher's logits of another example that the teacher puts into the same class.

    Within each of the teacher's predicted classes the examples of the transfer set pass their logits round in a random
    circle, another one for every seed. So predictions, and for each class the set of soft targets, are the teacher's
    own, and what they say of the single example is wrong: what ``kd`` gains over it is due to that alone. An example
    that is the only one of its class keeps its logits.
    """

    control: ClassVar[bool] = True
    shuffles_logits: ClassVar[bool] = True

    kind: Literal["shuffled"] = Field(default="shuffled", description="Soft targets of other examples.")  # type: ignore[assignment]
