"""Scores published in arXiv 2508.15423, beside those of a study with the same tasks, students and methods."""

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from codekd.analysis.tables import NAMED, NAMES, Schema, as_students, numbers, with_interval

if TYPE_CHECKING:
    from codekd.study.job import Job

TEACHER_OF_PAPER = "unixcoder"
"""The teacher whose scores are compared; with the other one, ModernBERT, no single numbers can be read in the paper."""

PUBLISHED: Schema = {
    **NAMED,
    "metric": pl.String,
    **with_interval("score"),
    **numbers("published"),
}


def published(scores: pl.DataFrame, references: pl.DataFrame, job: "Job") -> pl.DataFrame:
    """Scores of the study beside the published ones, for every student and teacher that the paper has as well.

    Models are matched by the names of their presets. Published scores are of single runs, read off a figure to within
    0.0004. The table is empty for tasks on other data.
    """
    sources = {name: spec["kind"] for name, spec in job.spec["tasks"].items()}
    read = pl.read_csv(Path(__file__).with_suffix(".csv"), schema_overrides={"student": pl.String})
    read = read.with_columns(pl.col("student").fill_null(""), published=pl.col("score") / 100).drop("score")
    columns = "metric", *with_interval("score")
    ours = pl.concat([scores.select(*NAMES, *columns), as_students(references, *columns)], how="diagonal")
    ours = ours.filter(teacher=TEACHER_OF_PAPER).with_columns(source=pl.col("task").replace_strict(sources))
    found = ours.join(read, ["source", "student", "method"], maintain_order="left")
    return found.select(PUBLISHED.keys()).cast(PUBLISHED)  # type: ignore[arg-type]
