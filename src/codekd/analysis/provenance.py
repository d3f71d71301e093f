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
    def on_gpu(self) -> bool:
        """Whether the model ran on a GPU."""
        return self.device not in ("", "cpu")


def made(folder: Path) -> Made:
    """What a node was made on, by its manifest.

    Raises:
        CodekdError: there is no readable manifest.
    """
    try:
        manifest: Mapping[str, Any] = json.loads((folder / "manifest.json").read_text())
    except (OSError, ValueError) as error:
        raise CodekdError(f"{folder} is not a finished node: manifest.json: {error}; run the study again.") from None
    host, versions, summary = (manifest.get(key, {}) for key in ("host", "versions", "summary"))
    known = [f"{name} {versions[name]}" for name in LIBRARIES if versions.get(name)]
    processor = " ".join([host.get("processor") or "", *(host.get("units") or [])]).strip()
    return Made(processor, summary.get("device", ""), summary.get("precision", ""), ", ".join(known))


def mixed(comparisons: Mapping[str, Sequence[Made]], machines: Mapping[str, Sequence[Made]]) -> list[str]:
    """Sentences that name what differs within comparisons, and within which; none where all is alike.

    Args:
        comparisons: by name, what the runs of one model were made on, such as a student's on a task.
        machines: by name, what runs of several models were made on. Their devices and precisions may differ: on one
            machine a GRU has another precision than a transformer.
    """
    sentences = []
    for field, title in PROPERTIES.items():
        compared = comparisons if field in ("device", "precision") else machines
        values = {name: [getattr(one, field) for one in runs] for name, runs in compared.items()}
        mixing = {name: own for name, own in values.items() if len({*own}) > 1}
        if mixing:
            counts = Counter(value or "not known" for own in mixing.values() for value in own)
            told = "; ".join(f"{value} ({count:,})" for value, count in counts.most_common())
            sentences.append(f"Different {title}: {told}, within {_names([*mixing])}.")
    return sentences


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return "; ".join(names[:NAMED]) + more
