"""Stage ``teachers`` of a language model, which is prompted and not trained: scores of its captured answers."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import safe_open

from codekd.analysis.metrics import scores
from codekd.data.batches import load_encoded
from codekd.signals.format import read_signal
from codekd.training.run import write_predictions

if TYPE_CHECKING:
    from codekd.study.job import Job


def run(job: "Job", folder: Path) -> dict[str, Any]:
    """Write the scores and the test predictions of the captured ``logits``."""
    parameters = sum(_parameters(path) for path in job.parents["pretrained"].glob("*.safetensors"))
    return write_captured(job, folder, {"parameters": parameters})


def write_captured(job: "Job", folder: Path, numbers: dict[str, Any]) -> dict[str, Any]:
    """Write ``metrics.json``, with some ``numbers`` more, and ``predictions.parquet`` of the captured logits."""
    classes, found = job.spec["classes"], {}
    for split in ("valid", "test"):
        data = load_encoded(job.parents["encoded"], [split])
        captured = read_signal(job.parents["signals/logits"], [split], "logits", data.ids)
        logits = captured.values.astype(np.float32)
        found[split] = scores(data.labels, logits.argmax(1), classes)
    metrics = {"metric": job.spec["metric"], **numbers, "scores": found}
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    write_predictions(folder, data, logits)
    return metrics


def _parameters(path: Path) -> int:
    with safe_open(path, framework="np") as file:
        shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
    return sum(math.prod(shape) for shape in shapes)
