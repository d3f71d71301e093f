"""Signals of a fine-tuned teacher, which has states as well as logits."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification

from codekd.data.batches import Encoded, Rows, load_encoded, load_units
from codekd.data.rows import Captured, Fixed, Ragged
from codekd.data.splits import UNLABELED
from codekd.data.units import Units
from codekd.models import encoder  # noqa: F401  (registers the model class)
from codekd.models.device import Device, choose_device
from codekd.models.inference import outputs
from codekd.signals.base import UNLABELED_PRECISION, Signal

if TYPE_CHECKING:
    from codekd.study.job import Job


@dataclass(frozen=True)
class Teacher:
    """Fine-tuned teacher, with the folders that it reads and the devices that it runs on.

    It runs in float32 (``device``) whatever the machine has: angles between states show the rounding of half precision,
    and logits of examples with a label are compared with students' and with scores. Logits of unlabelled examples, of
    which there may be many, are in the machine's own precision (``quick``), also where states of the same examples are
    wanted: what is captured does not depend on what else is.
    """

    model: Any
    device: Device
    quick: Device
    encoded: Path
    syntax: Path | None

    @classmethod
    def load(cls, jobs: "Sequence[Job]") -> "Teacher":
        """Load the one teacher of some jobs; parents are ``teacher``, ``encoded`` and, where needed, ``syntax``."""
        job = max(jobs, key=lambda job: "syntax" in job.parents)
        model = AutoModelForSequenceClassification.from_pretrained(job.parents["teacher"], local_files_only=True)
        quick = choose_device(model)
        device = replace(quick, dtype=torch.float32)
        return cls(model.to(device.device), device, quick, job.parents["encoded"], job.parents.get("syntax"))

    def describe(self, signal: Signal) -> dict[str, str]:
        """Device and precision for the manifest, and that of unlabelled examples where it may be another."""
        quick = self._device(signal, UNLABELED).describe()["precision"]
        return self.device.describe() | ({} if signal.hidden_states else {UNLABELED_PRECISION: quick})

    def _device(self, signal: Signal, split: str) -> Device:
        return self.quick if split == UNLABELED and not signal.hidden_states else self.device

    def signals(
        self, wanted: Sequence[Any], split: str, shard: int, rows: Rows | None = None
    ) -> tuple[Encoded, list[Captured]]:
        """Compute signals over a shard of a split, in one pass for each precision.

        Args:
            wanted: signals to compute.
            split: name of the split.
            shard: number of the shard.
            rows: indices of examples in the shard; None for all.

        Returns:
            The shard, and for every signal its values for ``rows``, in that order.
        """
        data = load_encoded(self.encoded, [split], shard)
        rows = np.arange(len(data)) if rows is None else rows
        kinds = {signal.unit for signal in wanted if signal.unit}
        units = {kind: load_units(kind, data, self.encoded, self.syntax, [split], shard) for kind in kinds}
        pieces: list[list[tuple[Rows, NDArray[np.generic]]]] = [[] for _ in wanted]
        devices = [self._device(signal, split) for signal in wanted]
        for device in dict.fromkeys(devices):
            together = [(one, found) for one, found, its in zip(wanted, pieces, devices, strict=True) if its == device]
            states = any(signal.hidden_states for signal, _ in together)
            for chosen, batch, output in outputs(self.model, data, device, states, rows):
                length = batch.input_ids.shape[1]
                shown = {kind: one.batch(chosen, length, device.device) for kind, one in units.items() if states}
                for signal, found in together:
                    values = signal.extract(output, replace(batch, units=shown.get(signal.unit)))
                    found.append((chosen, values.cpu().numpy()))
        return data, [
            _in_order(found, rows, units.get(signal.unit)) for signal, found in zip(wanted, pieces, strict=True)
        ]


def _in_order(found: Sequence[tuple[Rows, NDArray[np.generic]]], rows: Rows, units: Units | None) -> Captured:
    """Values of batches in the order of ``rows``, without the padding of units."""
    if units is None:
        chosen, values = (np.concatenate(column) for column in zip(*found, strict=True))
        order = np.argsort(chosen)
        return Fixed(values[order[np.searchsorted(chosen, rows, sorter=order)]])
    pieces: dict[int, NDArray[np.generic]] = {}
    for chosen, padded in found:
        for sequence, one in zip(units.sequences(chosen), padded, strict=True):
            pieces[sequence] = one[: units.count[sequence]]
    sequences = units.sequences(rows)
    spans = (array[sequences].reshape(-1, units.pieces) for array in (units.first, units.count))
    return Ragged(np.concatenate([pieces[sequence] for sequence in sequences]), *spans)
