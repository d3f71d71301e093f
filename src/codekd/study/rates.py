"""Training speed of a core of this machine, measured once and remembered with the results."""

import json
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

from codekd.files import put_text, remembered

MEMORY = ".rates.json"


@dataclass(frozen=True)
class Rates:
    """Speed of a core, in floating-point operations per second, with other cores at work beside it.

    ``transformers`` is the speed of training transformers, ``float32`` that of training GRUs and of capturing states of
    teachers.
    """

    transformers: float
    float32: float


WITH_BF16, WITHOUT = Rates(2.0e11, 6.5e10), Rates(6.5e10, 6.5e10)
"""Speed of cores with bf16 units, as measured on one, and of cores without."""


def measured(results: Path) -> Rates | None:
    """Speed that was measured on this machine, or None."""
    try:
        return Rates(**remembered(results / MEMORY)[platform.node()])
    except (KeyError, TypeError):
        return None


def measure(results: Path) -> Rates:
    """Train for some ten seconds on one core; remember the speed and return it."""
    from codekd.models.throughput import training_flops

    bf16, float32 = training_flops()
    found = Rates(max(bf16, float32), float32)
    path = results / MEMORY
    put_text(json.dumps(remembered(path) | {platform.node(): asdict(found)}), path)
    return found
