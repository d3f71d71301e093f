"""Stage ``trials``: a student with one candidate of a search, judged on the validation split and thrown away."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codekd.training.loop import valid_scores
from codekd.training.run import fit_model
from codekd.training.student import prepare

if TYPE_CHECKING:
    from codekd.study.job import Job


def run(job: "Job", folder: Path) -> dict[str, Any]:
    """Train a student and write its validation scores; the test split is not read."""
    model, objective, train = prepare(job)
    fitted, device = fit_model(job, model, objective, train)
    valid = valid_scores(fitted.history[fitted.best_epoch - 1])
    metrics = {"best_epoch": fitted.best_epoch, "scores": {"valid": valid}}
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    return metrics | device.describe() | fitted.describe_parts(objective)
