"""Base of all signals: what methods read of a teacher. Imports nothing heavy: the Snakefile imports it."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field

from codekd.data.splits import SPLITS, TRANSFER
from codekd.models.layers import teacher_layers
from codekd.study.base import Model

UNLABELED_PRECISION = "unlabeled_precision"
"""Key in a manifest of the precision of unlabelled examples, where it may be another one than ``precision``."""

UNITS_OF_SYNTAX = ("lexeme", "node")
"""Units that are found by parsing the code."""


@dataclass(frozen=True)
class TeacherShape:
    """Sizes of a teacher that the size of a signal depends on."""

    classes: int
    layers: int
    pooled_width: int
    width: int


class Signal(Model):
    """Kind of signal, and the settings that its content depends on."""

    hidden_states: ClassVar[bool] = False
    """Whether the signal is made of the teacher's states and not of its logits alone."""

    tolerance: ClassVar[float]
    """Allowed difference from numbers computed anew in float32, see :func:`codekd.signals.verify.differences`."""

    gaps: ClassVar[bool] = False
    """Whether NaN stands for a value that an example does not have; else all numbers are finite.

    A value that exists and is not finite is infinite then, so that no gap hides it, and is refused like any other.
    """

    kind: str = Field(description="Module in codekd.signals.")

    @property
    def name(self) -> str:
        """Name of the signal's folder, settings included."""
        return self.kind

    @property
    def unit(self) -> str | None:
        """Unit that has a row, ``token``, ``lexeme`` or ``node``; None where an example has one."""
        return None

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits that are captured: all, or for a signal made of states those that a student learns from."""
        return TRANSFER if self.hidden_states else SPLITS

    def row_bytes(self, teacher: TeacherShape) -> int:
        """Bytes of a captured row: of an example, or of a unit where each has a row."""
        raise NotImplementedError


class LayerSignal(Signal):
    """Signal made of the teacher's states in as many layers as the student has."""

    hidden_states: ClassVar[bool] = True
    tolerance: ClassVar[float] = 1e-2

    layers: int = Field(ge=1, description="Layers of the student; the teacher's are kept by uniform skip.")

    def kept(self, hidden_states: Sequence[Any]) -> list[Any]:
        """States of the kept layers, out of the teacher's states with its embedding output first."""
        return [hidden_states[layer] for layer in teacher_layers(self.layers, len(hidden_states) - 1)]


def parse(definition: Mapping[str, Any]) -> Any:
    """Build the ``Config`` of a signal's module from its settings, which name it as ``kind``."""
    return importlib.import_module(f"codekd.signals.{definition['kind']}").Config.model_validate(definition)
