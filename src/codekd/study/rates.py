"""How fast a core of this machine trains, measured once and remembered with the results."""

import json
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

from codekd.files import put_text, remembered

MEMORY = ".rates.json"


@dataclass(frozen=True)
class Rates:
    """Floating-point operations per second of a core, with others at work beside it.

    ``transformers`` is that of transformers that are trained, ``float32`` that of GRUs and of teachers whose states are
    captured.
    """

    transformers: float
    float32: float


WITH_BF16, WITHOUT = Rates(2.0e11, 6.5e10), Rates(6.5e10, 6.5e10)
"""Of cores with bf16 units, as they were measured on one, and of others."""


def measured(results: Path) -> Rates | None:
    """What was measured on this machine, if something was."""
    try:
        return Rates(**remembered(results / MEMORY)[platform.node()])
    except (KeyError, TypeError):
        return None


def measure(results: Path) -> Rates:
    """Train for some ten seconds on one core, and remember how fast that was."""
    from codekd.models.throughput import training_flops

    bf16, float32 = training_flops()
    found = Rates(max(bf16, float32), float32)
    path = results / MEMORY
    put_text(json.dumps(remembered(path) | {platform.node(): asdict(found)}), path)
    return found
