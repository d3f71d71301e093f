"""Stage ``selected``: choice of the trial with the best validation score among those of a search."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codekd.study.job import Job

FILE = "choice.json"


def run(job: "Job", folder: Path) -> dict[str, Any]:
    """Write the choice, of equals the first in the config, and all candidates with their scores."""
    found = []
    for candidate in job.spec["candidates"]:
        metrics = json.loads((job.parents[f"trials/{candidate['name']}"] / "metrics.json").read_text())
        found.append({"settings": candidate["settings"], "valid": metrics["scores"]["valid"][job.spec["metric"]]})
    best = max(found, key=lambda candidate: candidate["valid"])
    choice = {"metric": job.spec["metric"], "chosen": best["settings"], "candidates": found}
    (folder / FILE).write_text(json.dumps(choice, indent=1) + "\n")
    return choice


def with_choice(spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Spec of a student with the settings that were chosen in a folder."""
    chosen = json.loads((folder / FILE).read_text())["chosen"]
    out = dict(spec)
    for key, value in chosen.items():
        section, _, name = key.partition(".")
        out[section] = {**out[section], name: value}
    return out
