"""Machines on which the runs of a study were made, and comparisons that mix them.

Other processors, devices, precisions and versions of libraries round differently, and may move a score.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codekd.errors import CodekdError

LIBRARIES = ("torch", "transformers", "tokenizers", "numpy")
"""Libraries whose versions may change the numbers of a trained model."""

PROPERTIES = {
    "processor": "processors",
    "device": "devices",
    "precision": "precisions",
    "libraries": "versions of libraries",
}
NAMED = 6
"""Largest number of comparisons that a sentence names."""


@dataclass(frozen=True)
class Made:
    """Processor, device, precision and library versions of a run; empty where its manifest does not say."""

    processor: str = ""
    device: str = ""
    precision: str = ""
    libraries: str = ""

    @property
    def clock(self) -> tuple[str, str]:
        """Device and processor on which the run's seconds were counted; those of other ones are not comparable."""
        return self.device, self.processor

    @property
    def on_gpu(self) -> bool:
        """Whether the model ran on a GPU."""
        return self.device not in ("", "cpu")


def made_on(folder: Path) -> Made:
    """The machine on which a node was made, by the manifest in its folder.

    Raises:
        CodekdError: the folder has no readable manifest.
    """
    try:
        manifest: Mapping[str, Any] = json.loads((folder / "manifest.json").read_text())
    except (OSError, ValueError) as error:
        raise CodekdError(f"{folder} is not a finished node: manifest.json: {error}; run the study again.") from None
    host, versions, summary = (manifest.get(key) or {} for key in ("host", "versions", "summary"))
    known = [f"{name} {versions[name]}" for name in LIBRARIES if versions.get(name)]
    processor = " ".join([host.get("processor") or "", *(host.get("units") or [])]).strip()
    return Made(processor, summary.get("device", ""), summary.get("precision", ""), ", ".join(known))


Runs = Mapping[Path, Made]
"""Machines of some runs, by the runs' folders."""


def mixed(comparisons: Mapping[str, Runs], machines: Mapping[str, Runs]) -> list[str]:
    """Sentences about properties of machines that differ within comparisons, and the comparisons that mix them.

    Args:
        comparisons: runs of one model, such as a student's on a task, by name; checked for devices and precisions.
        machines: runs of several models, by name; checked for processors and libraries alone, because on one machine
            a GRU has another precision than a transformer.

    Returns:
        One sentence a property that differs.
    """
    sentences = []
    for field, title in PROPERTIES.items():
        compared = comparisons if field in ("device", "precision") else machines
        values = {
            name: {folder: getattr(one, field) or "not known" for folder, one in runs.items()}
            for name, runs in compared.items()
        }
        mixing = {name: own for name, own in values.items() if len({*own.values()}) > 1}
        if mixing:
            each = {folder: value for own in mixing.values() for folder, value in own.items()}
            told = "; ".join(f"{value} ({count:,})" for value, count in Counter(each.values()).most_common())
            sentences.append(f"Different {title}: {told}, within {_names([*mixing])}.")
    return sentences


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return "; ".join(names[:NAMED]) + more
