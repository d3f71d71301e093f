"""The scores that arXiv 2508.15423 published, beside those of a study with its coordinates."""

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from codekd.analysis.tables import NAMED, NAMES, Schema, as_students, numbers, with_interval

if TYPE_CHECKING:
    from codekd.study.job import Job

TEACHER_OF_PAPER = "unixcoder"
"""With the other teacher, ModernBERT, single numbers were not published in a form that can be read."""

PUBLISHED: Schema = {
    **NAMED,
    "metric": pl.String,
    **with_interval("score"),
    **numbers("published"),
}


def published(scores: pl.DataFrame, references: pl.DataFrame, job: "Job") -> pl.DataFrame:
    """Of every student and teacher that the paper has too, by its preset's name, both scores.

    Published are single runs, read off a figure to within 0.0004. Empty for tasks on other data.
    """
    sources = {name: spec["kind"] for name, spec in job.spec["tasks"].items()}
    read = pl.read_csv(Path(__file__).with_suffix(".csv"), schema_overrides={"student": pl.String})
    read = read.with_columns(pl.col("student").fill_null(""), published=pl.col("score") / 100).drop("score")
    columns = "metric", *with_interval("score")
    ours = pl.concat([scores.select(*NAMES, *columns), as_students(references, *columns)], how="diagonal")
    ours = ours.filter(teacher=TEACHER_OF_PAPER).with_columns(source=pl.col("task").replace_strict(sources))
    found = ours.join(read, ["source", "student", "method"], maintain_order="left")
    return found.select(PUBLISHED.keys()).cast(PUBLISHED)  # type: ignore[arg-type]
