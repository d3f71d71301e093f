"""Logits of a task's n-gram floor, which let it teach as a member of an ensemble."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from codekd.analysis.floors import Floor, fit_floor
from codekd.data.batches import Rows, shards
from codekd.data.read import read_examples
from codekd.data.rows import Captured, Fixed
from codekd.data.splits import SPLITS
from codekd.models.device import CPU, Device
from codekd.signals.calibration import log_probabilities, scale_of

if TYPE_CHECKING:
    from codekd.signals.base import Signal
    from codekd.study.job import Job


@dataclass(frozen=True)
class Shard:
    """Ids of the examples in a shard."""

    ids: list[str]


@dataclass(frozen=True)
class Teacher:
    """N-gram floor of a task, fitted anew as its stage does it.

    Its margins are of no particular scale; multiplied by ``scale``, which is fitted on the validation split, they are
    log-probabilities, with the floor's own predictions. ``encoded`` is the folder of the examples, which it reads as
    they are.
    """

    encoded: Path
    device: Device
    frames: Mapping[str, pl.DataFrame]
    floor: Floor
    scale: float

    @classmethod
    def load(cls, jobs: "Sequence[Job]") -> "Teacher":
        """Fit the floor of one job; its parent is ``examples``."""
        [job] = jobs
        spec, folder = job.spec, job.parents["examples"]
        frames = {split: read_examples(folder, split, spec["columns"], spec["classes"]) for split in SPLITS}
        floor = fit_floor(frames, len(spec["classes"]), spec["columns"], spec["has_hole"])
        scale = scale_of(floor.margins(frames["valid"]), frames["valid"]["label"].to_numpy())
        return cls(folder, CPU, frames, floor, scale)

    def describe(self, signal: "Signal") -> dict[str, str]:
        """Device and precision for the manifest, the same for every ``signal``."""
        return self.device.describe()

    def signals(
        self, wanted: Sequence[Any], split: str, shard: int, rows: Rows | None = None
    ) -> tuple[Shard, list[Captured]]:
        """Ids of a shard, and log-probabilities ``(rows, classes)`` float32 of all or some of its examples."""
        sizes = shards(self.encoded, split)
        frame = self.frames[split].slice(sum(sizes[:shard]), sizes[shard])
        chosen = frame if rows is None else frame[rows]
        logits = log_probabilities(self.floor.margins(chosen), self.scale).astype(np.float32)
        return Shard(frame["id"].to_list()), [Fixed(logits) for _ in wanted]
