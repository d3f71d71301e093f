"""Stage ``signals``: run a fine-tuned teacher once over every split and keep what methods read of it."""

import importlib
import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification

from codekd.data.batches import Rows, load_encoded, load_units
from codekd.data.rows import Captured, Fixed, Ragged
from codekd.data.units import Units
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
    kind = job.spec["signal"]["kind"]
    signal = importlib.import_module(f"codekd.signals.{kind}").Config.model_validate(job.spec["signal"])
    model = AutoModelForSequenceClassification.from_pretrained(job.parents["teacher"], local_files_only=True)
    device = choose_device(model)
    if signal.hidden_states:
        # Angles between states show the rounding of half precision.
        device = replace(device, dtype=torch.float32)
    model.to(device.device)
    summary: dict[str, Any] = device.describe()
    for split in SPLITS:
        data = load_encoded(job.parents["encoded"], [split])
        if signal.by_unit:
            data = replace(data, units=load_units(data, job.parents["encoded"], [split], job.parents.get("syntax")))
        for index, start in enumerate(range(0, len(data), SHARD_ROWS)):
            shard = np.arange(start, min(start + SHARD_ROWS, len(data)))
            batches = outputs(model, data, device, signal.extract, signal.hidden_states, shard)
            rows = _in_order(batches, shard, data.units)
            write_shard(folder, split, index, kind, [data.ids[row] for row in shard], rows)
            log.info("%s: %s, %d of %d examples", job.name, split, start + len(shard), len(data))
        summary[split] = len(data)
    return summary


def _in_order(batches: Iterable[tuple[Rows, NDArray[np.generic]]], shard: Rows, units: Units | None) -> Captured:
    """Batches of any order as the rows of a shard; of padded units only those that there are."""
    if units is None:
        rows, values = zip(*batches, strict=True)
        return Fixed(np.concatenate(values)[np.argsort(np.concatenate(rows))])
    pieces: dict[int, NDArray[np.generic]] = {}
    for chosen, padded in batches:
        for sequence, one in zip(units.sequences(chosen), padded, strict=True):
            pieces[sequence] = one[: units.count[sequence]]
    sequences = units.sequences(shard)
    spans = (array[sequences].reshape(-1, units.pieces) for array in (units.first, units.count))
    return Ragged(np.concatenate([pieces[sequence] for sequence in sequences]), *spans)
