"""What the runs of a study were made on, and which comparisons mix machines: other processors round otherwise."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codekd.errors import CodekdError

LIBRARIES = ("torch", "transformers", "tokenizers", "numpy")
"""Whose versions may change a number of a trained model."""

PROPERTIES = {
    "processor": "processors",
    "device": "devices",
    "precision": "precisions",
    "libraries": "versions of libraries",
}
NAMED = 6
"""Comparisons that a sentence names."""


@dataclass(frozen=True)
class Made:
    """What a run was made on; empty where its manifest does not say."""

    processor: str = ""
    device: str = ""
    precision: str = ""
    libraries: str = ""

    @property
    def clock(self) -> tuple[str, str]:
        """What its seconds were counted on."""
        return self.device, self.processor

    @property
    def on_gpu(self) -> bool:
        """Whether the model ran on a GPU."""
        return self.device not in ("", "cpu")


def made_on(folder: Path) -> Made:
    """What a node was made on, by its manifest.

    Raises:
        CodekdError: there is no readable manifest.
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
"""What some runs were made on, by their folders."""


def mixed(comparisons: Mapping[str, Runs], machines: Mapping[str, Runs]) -> list[str]:
    """Sentences that name what differs within comparisons, and within which; none where all is alike.

    Args:
        comparisons: by name, the runs of one model, such as a student's on a task.
        machines: by name, the runs of several models. Their devices and precisions may differ: on one machine a GRU
            has another precision than a transformer.
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
