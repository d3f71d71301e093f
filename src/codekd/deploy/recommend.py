"""The student to deploy: the best one within limits of time, size and loss, and why."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from codekd.analysis.findings import estimate
from codekd.analysis.numbers import percent
from codekd.analysis.results import NO_TEACHER
from codekd.analysis.tables import NAMES
from codekd.errors import CodekdError


@dataclass(frozen=True)
class Limits:
    """What a student may take, on one CPU thread and in its file of weights, and must keep of its teacher's score."""

    milliseconds: float | None = None
    megabytes: float | None = None
    retention: float | None = None

    def broken(self, row: Mapping[str, Any]) -> list[str]:
        """What a student breaks, in words."""
        broken = []
        if self.milliseconds is not None and row["milliseconds"] > self.milliseconds:
            broken.append(f"{row['milliseconds']:.1f} ms is more than {self.milliseconds:g}")
        if self.megabytes is not None and row["megabytes"] > self.megabytes:
            broken.append(f"{row['megabytes']:.1f} MB is more than {self.megabytes:g}")
        if self.retention is not None and row["retention"] is None:
            broken.append("without a teacher nothing is known of what is kept")
        elif self.retention is not None and row["retention"] < self.retention:
            broken.append(f"{percent(row['retention'])} % of the score is less than {percent(self.retention)}")
        return broken


@dataclass(frozen=True)
class Recommendation:
    """A student for a task, the folder of its best seed, and why; None where no student meets the limits."""

    task: str
    cell: Path | None
    why: str

    def record(self) -> dict[str, Any]:
        """For programs."""
        return {**asdict(self), "cell": str(self.cell) if self.cell else None}


def recommend(report: Path, limits: Limits) -> Iterator[Recommendation]:
    """One recommendation a task, from a report's tables.

    The best student on the validation split within the limits, the fastest of equals; nothing is better on that split
    and as fast. Chosen on the test split, its score there would flatter it.

    Raises:
        CodekdError: the folder is no report, or the study has not measured inference.
    """
    try:
        scores, pareto, cells = (
            pl.read_parquet(report / "tables" / f"{name}.parquet") for name in ("scores", "pareto", "cells")
        )
    except OSError as error:
        raise CodekdError(f"{report} is no finished report: {error}. Run the study first.") from None
    if pareto.is_empty():
        raise CodekdError(
            f"{report}: the study has not measured inference; set `inference: true` in its config and run it again."
        )
    served = pareto.select(*NAMES, "milliseconds", "megabytes")
    students = scores.join(served, NAMES, maintain_order="left").sort(-pl.col("valid_score"), "milliseconds")
    for task in scores["task"].unique(maintain_order=True):
        rows = list(students.filter(task=task).iter_rows(named=True))
        within = [row for row in rows if not limits.broken(row)]
        if not within:
            yield Recommendation(task, None, _nobody(rows, limits))
            continue
        best = within[0]
        seeds = cells.filter(pl.col("teacher").is_in([best["teacher"], NO_TEACHER]), task=task, student=best["student"])
        seed = seeds.filter(method=best["method"]).sort("valid_score", descending=True).row(0, named=True)
        yield Recommendation(task, (report / seed["link"]).resolve(), _because(within, rows))


def _because(within: list[dict[str, Any]], rows: list[dict[str, Any]]) -> str:
    best, *others = within
    kept = "" if best["retention"] is None else f", {percent(best['retention'])} % of the score of {best['teacher']}"
    text = (
        f"{best['student']} with {best['method']}: {estimate(best, 'score', percent)} % on the test split{kept}, "
        f"{best['milliseconds']:.1f} ms, {best['megabytes']:.1f} MB. It is the best on the validation split of "
        f"{len(within)} students within the limits, of {len(rows)}"
    )
    faster = (row for row in others if row["milliseconds"] < best["milliseconds"])
    if other := next(faster, None):
        return (
            f"{text}; the best of the faster ones is {other['student']} with {other['method']}, "
            f"{percent(other['score'])} % in {other['milliseconds']:.1f} ms."
        )
    return f"{text}, and none is faster."


def _nobody(rows: list[dict[str, Any]], limits: Limits) -> str:
    nearest = min(rows, key=lambda row: len(limits.broken(row)))
    return (
        f"no student is within the limits. The nearest, {nearest['student']} with {nearest['method']}: "
        f"{'; '.join(limits.broken(nearest))}."
    )
