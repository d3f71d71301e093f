"""What it takes to serve the models of a study, and which of them nothing beats in both score and time."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import polars as pl

from codekd.analysis.tables import NAMED, NAMES, Row, Schema, as_students, numbers

if TYPE_CHECKING:
    from codekd.study.job import Job

INFERENCE: Schema = {
    **dict.fromkeys(("task", "kind", "name", "device", "precision"), pl.String),
    "threads": pl.Int64,
    **numbers("milliseconds", "milliseconds_95", "examples_per_second"),
    **dict.fromkeys(("parameters", "bytes", "peak_bytes"), pl.Int64),
    **numbers("flops", "tokens"),
}
PARETO: Schema = {
    **NAMED,
    "metric": pl.String,
    **numbers("score", "milliseconds", "megabytes", "speed_up"),
    **dict.fromkeys(("on_front", "on_front_of_size", "busy"), pl.Boolean),
}


def inference(job: "Job") -> pl.DataFrame:
    """One row for every model, device, number of threads and precision that was measured."""
    return pl.DataFrame(list(_measured(job)), INFERENCE)


def pareto(scores: pl.DataFrame, references: pl.DataFrame, served: pl.DataFrame) -> pl.DataFrame:
    """Every student and method, and the teacher, with its score, size, and time for one example on one CPU thread.

    Of precisions the faster one counts. ``on_front`` says that nothing of the task and teacher is better in score and
    as fast, or faster and as good, and ``on_front_of_size`` the same of size. Empty where no time was measured.
    """
    alone = served.filter(device="cpu", threads=1).sort("milliseconds").unique(["task", "kind", "name"], keep="first")
    fast = alone.select("task", "kind", "name", "milliseconds", megabytes=pl.col("bytes") / 1e6)
    students = scores.select(*NAMES, "metric", "score").join(
        fast.filter(kind="students").drop("kind"),
        left_on=["task", "student"],
        right_on=["task", "name"],
        maintain_order="left",
    )
    teachers = as_students(references, "metric", "score").join(
        fast.filter(kind="teachers").drop("kind"),
        left_on=["task", "teacher"],
        right_on=["task", "name"],
        maintain_order="left",
    )
    both = pl.concat([students, teachers], how="diagonal").with_columns(speed_up=pl.lit(None), busy=pl.lit(None))
    both = _with_front(_with_front(both, "milliseconds", "on_front"), "megabytes", "on_front_of_size")
    return both.select(PARETO.keys()).cast(PARETO)  # type: ignore[arg-type]


def _with_front(table: pl.DataFrame, cost: str, name: str) -> pl.DataFrame:
    ranked = table.with_row_index().sort(cost, -pl.col("score"))
    before = pl.col("score").cum_max().shift(1).over("task", "teacher")
    return ranked.with_columns((before.is_null() | (pl.col("score") > before)).alias(name)).sort("index").drop("index")


def _measured(job: "Job") -> Iterator[Row]:
    for role, folder in job.parents.items():
        if role.startswith("inference/"):
            _, task, kind, name = role.split("/")
            found: dict[str, Any] = json.loads((folder / "inference.json").read_text())
            for times in found.pop("times"):
                yield {"task": task, "kind": kind, "name": name, **times, **found}
