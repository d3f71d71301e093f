"""Longer fine-tuning: as many steps as a method that also learns from unlabelled code, a control for their number."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from codekd.methods import ft


class Config(ft.Config):
    """``CE(z_s, y)``, each epoch as long as that of a method that trains on the whole transfer set.

    Labelled examples are repeated within an epoch until they are as many as labelled and unlabelled ones together. What
    distillation gains over it does not come of more steps and a slower learning rate schedule. The number of steps is
    the same wherever ``batch_size`` bounds the batches; where ``batch_tokens`` does it depends on the examples'
    lengths.
    """

    control: ClassVar[bool] = True
    repeats_labelled: ClassVar[bool] = True

    kind: Literal["longer"] = Field(default="longer", description="Fine-tuning with as many steps as distillation.")  # type: ignore[assignment]
