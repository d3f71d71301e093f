"""Stage ``teachers`` of an ensemble: scores of its captured logits, its weights, and what its members cost."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codekd.signals.ensemble import Pool
from codekd.training.asked import write_captured

if TYPE_CHECKING:
    from codekd.study.job import Job

MODELS = "models/"
"""Prefix, in the roles of a job's parents, of the members themselves: teachers, and the floor."""

SUMMED = ("parameters", "train_seconds", "train_cpu_seconds")
"""Metrics of an ensemble that are sums over its members, those that were not trained left out."""


def run(job: "Job", folder: Path) -> dict[str, Any]:
    """Write the scores and the test predictions of the ensemble's ``logits``, its size, and what its members cost."""
    pool = Pool.fit(job)
    members = {name: {"weight": pool.weights[name], "scale": scale} for name, scale in pool.scales.items()}
    own = [json.loads((job.parents[f"{MODELS}{name}"] / "metrics.json").read_text()) for name in members]
    total = {name: [one[name] for one in own if name in one] for name in SUMMED}
    numbers = {name: round(sum(values), 3) for name, values in total.items() if values}
    return write_captured(job, folder, numbers | {"members": members})
