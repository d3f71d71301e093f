"""What a method asks of a teacher. Light: the Snakefile imports it."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field

from codekd.data.splits import SPLITS, TRANSFER
from codekd.models.layers import teacher_layers
from codekd.study.base import Model

UNLABELED_PRECISION = "unlabeled_precision"
"""In a manifest, the precision of unlabelled examples where it may be another one than ``precision``."""

UNITS_OF_SYNTAX = ("lexeme", "node")


@dataclass(frozen=True)
class TeacherShape:
    """What the size of a signal depends on: numbers of a teacher."""

    classes: int
    layers: int
    pooled_width: int
    width: int


class Signal(Model):
    """A kind of signal and the settings that its content depends on."""

    hidden_states: ClassVar[bool] = False
    """Whether it is made of the teacher's states and not of its logits alone."""

    tolerance: ClassVar[float]
    """How far numbers may be from those computed anew in float32, see :func:`codekd.signals.verify.differences`."""

    gaps: ClassVar[bool] = False
    """Whether not a number stands where an example has no value; else all numbers are finite.

    What has a value that is not finite is infinite then, so that no gap hides it, and is refused like any other.
    """

    kind: str = Field(description="Module in codekd.signals.")

    @property
    def name(self) -> str:
        """Names its folder, settings included."""
        return self.kind

    @property
    def unit(self) -> str | None:
        """What it has a row for: ``token``, ``lexeme``, ``node``, or None where that is the example."""
        return None

    @property
    def splits(self) -> tuple[str, ...]:
        """What it is captured of: all splits, or where it is made of states, those that a student learns from."""
        return TRANSFER if self.hidden_states else SPLITS

    def row_bytes(self, teacher: TeacherShape) -> int:
        """Bytes of a row of what is captured: of an example, or of a unit where each has a row."""
        raise NotImplementedError


class LayerSignal(Signal):
    """A signal made of the states of as many layers as the student has."""

    hidden_states: ClassVar[bool] = True
    tolerance: ClassVar[float] = 1e-2

    layers: int = Field(ge=1, description="Layers of the student; the teacher's are kept by uniform skip.")

    def kept(self, hidden_states: Sequence[Any]) -> list[Any]:
        """Of the teacher's states, its embedding output first, those of the kept layers."""
        return [hidden_states[layer] for layer in teacher_layers(self.layers, len(hidden_states) - 1)]


def parse(definition: Mapping[str, Any]) -> Any:
    """A signal's settings (with its ``kind``) as the ``Config`` of its module."""
    return importlib.import_module(f"codekd.signals.{definition['kind']}").Config.model_validate(definition)
