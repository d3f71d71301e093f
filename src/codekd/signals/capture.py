"""Stage ``signals``: run a fine-tuned teacher once over every split and keep what methods read of it."""

import importlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from transformers import AutoModelForSequenceClassification

from codekd.data.batches import load_encoded
from codekd.models import encoder  # noqa: F401  (registers the model class)
from codekd.models.device import choose_device
from codekd.models.inference import outputs
from codekd.signals.format import SHARD_ROWS, write_shard

if TYPE_CHECKING:
    from codekd.study.job import Job

SPLITS = ("train", "valid", "test", "unlabeled")

log = logging.getLogger("codekd")


def run(job: "Job", folder: Path) -> dict[str, Any]:
    """Write the shards of one signal; the teacher is in eval mode and memory is bounded by a shard."""
    signal = job.spec["signal"]
    module = importlib.import_module(f"codekd.signals.{signal}")
    model = AutoModelForSequenceClassification.from_pretrained(job.parents["teacher"], local_files_only=True)
    device = choose_device(model)
    model.to(device.device)
    summary: dict[str, Any] = device.describe()
    for split in SPLITS:
        data = load_encoded(job.parents["encoded"], [split])
        for index, start in enumerate(range(0, len(data), SHARD_ROWS)):
            shard = np.arange(start, min(start + SHARD_ROWS, len(data)))
            batches = list(outputs(model, data, device, module.extract, module.HIDDEN_STATES, shard))
            order = np.argsort(np.concatenate([rows for rows, _ in batches]))
            values = np.concatenate([values for _, values in batches])[order]
            write_shard(folder, split, index, signal, [data.ids[row] for row in shard], values)
            log.info("%s: %s, %d of %d examples", job.name, split, start + len(shard), len(data))
        summary[split] = len(data)
    return summary
