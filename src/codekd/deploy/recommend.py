"""Recommendation of a student to deploy: the best one within limits of time, size and retention, with reasons."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from codekd.analysis.findings import estimate
from codekd.analysis.numbers import percent, points
from codekd.analysis.practice import RUNTIMES
from codekd.analysis.results import NO_TEACHER
from codekd.analysis.tables import NAMES
from codekd.errors import CodekdError

Row = Mapping[str, Any]
SERVED = ("runtime", "milliseconds", "int8_milliseconds", "megabytes", "busy")


@dataclass(frozen=True)
class Broken:
    """A limit that a student breaks: a description, and the excess as a share of the limit."""

    words: str
    excess: float


@dataclass(frozen=True)
class Limits:
    """Limits that a student must meet; None for no limit.

    Attributes:
        milliseconds: longest time for one example on one CPU thread, from code to answer.
        megabytes: largest size of the model's file.
        retention: smallest share of the teacher's score on the validation split, in [0, 1]; not on the test split,
            because the test score of a choice on test would be too high.
    """

    milliseconds: float | None = None
    megabytes: float | None = None
    retention: float | None = None

    def broken(self, row: Row) -> list[Broken]:
        """Limits that a student breaks; ``row`` has the columns of the ``scores`` and ``pareto`` tables."""
        found = []
        for limit, value, unit in (
            (self.milliseconds, row["milliseconds"], "ms"),
            (self.megabytes, row["megabytes"], "MB"),
        ):
            if limit is not None and value > limit:
                found.append(Broken(f"{value:.1f} {unit} is more than {limit:g}", _share(value - limit, limit)))
        kept, least = row["valid_retention"], self.retention
        if least is not None and kept is None:
            found.append(Broken("without a teacher nothing is known of what is kept", float("inf")))
        elif least is not None and kept < least:
            words = f"{percent(kept)} % of the score on the validation split is less than {percent(least)}"
            found.append(Broken(words, _share(least - kept, least)))
        return found


@dataclass(frozen=True)
class Recommendation:
    """A student for a task: the folder of its best seed, None where no student meets the limits, and the reason."""

    task: str
    cell: Path | None
    why: str

    def record(self) -> dict[str, Any]:
        """The recommendation as a dictionary for JSON."""
        return {**asdict(self), "cell": str(self.cell) if self.cell else None}


def recommend(report: Path, limits: Limits) -> Iterator[Recommendation]:
    """Recommend one student a task from a report's tables: the best within the limits, the fastest of equals.

    Scores are those on the validation split: no student within the limits is better there and as fast. Time and size
    are those of ``model.onnx``, which ``codekd export`` always writes, tokenizer included, or of PyTorch where ONNX was
    not measured.

    Args:
        report: folder of the report.
        limits: limits that the student must meet.

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
    served = pareto.select(*NAMES, *SERVED)
    students = scores.join(served, NAMES, maintain_order="left").sort(-pl.col("valid_score"), "milliseconds")
    for task in scores["task"].unique(maintain_order=True):
        rows = list(students.filter(task=task).iter_rows(named=True))
        within = [row for row in rows if not limits.broken(row)]
        if not within:
            yield Recommendation(task, None, " ".join([_nobody(rows, limits), *_reserves(rows)]))
            continue
        best = within[0]
        seeds = cells.filter(pl.col("teacher").is_in([best["teacher"], NO_TEACHER]), task=task, student=best["student"])
        seed = seeds.filter(method=best["method"]).sort("valid_score", descending=True).row(0, named=True)
        why = " ".join([_because(within, rows), *_reserves(rows)])
        yield Recommendation(task, (report / seed["link"]).resolve(), why)


def _because(within: Sequence[Row], rows: Sequence[Row]) -> str:
    best, *others = within
    text = (
        f"{best['student']} with {best['method']}: {estimate(dict(best), 'score', percent)} % on the test split"
        f"{_kept(best)}, {_served(best)}. It is the best on the validation split of {len(within)} students within the "
        f"limits, of {len(rows)}"
    )
    faster = (row for row in others if row["milliseconds"] < best["milliseconds"])
    if other := next(faster, None):
        return (
            f"{text}; the best of the faster ones is {other['student']} with {other['method']}, "
            f"{percent(other['score'])} % in {other['milliseconds']:.1f} ms."
        )
    return f"{text}, and none is faster."


def _kept(row: Row) -> str:
    floor = (
        "" if row["above_floor"] is None else f", {estimate(dict(row), 'above_floor', points)} points against n-grams"
    )
    if row["retention"] is None or row["valid_retention"] is None:
        return floor
    return (
        f", {percent(row['valid_retention'])} % of the score of {row['teacher']} on the validation split and "
        f"{percent(row['retention'])} % on the test split{floor}"
    )


def _served(row: Row) -> str:
    small = row["int8_milliseconds"]
    faster = f" ({small:.1f} in eight bits)" if small and small < row["milliseconds"] else ""
    busy = ", CPU time of a busy machine" if row["busy"] else ""
    return f"{row['milliseconds']:.1f} ms{faster} in {RUNTIMES[row['runtime']]}{busy}, {row['megabytes']:.1f} MB"


def _nobody(rows: Sequence[Row], limits: Limits) -> str:
    """Reason why no student is chosen, and the nearest one: the smallest in its largest excess over a limit."""

    def distance(row: Row) -> tuple[float, float, float]:
        excesses = [one.excess for one in limits.broken(row)]
        return max(excesses), sum(excesses), row["milliseconds"]

    nearest = min(rows, key=distance)
    broken = "; ".join(one.words for one in limits.broken(nearest))
    return (
        f"no student is within the limits. The nearest, {nearest['student']} with {nearest['method']}, "
        f"takes {_served(nearest)}{_kept(nearest)}: {broken}."
    )


def _reserves(rows: Sequence[Row]) -> Iterator[str]:
    """Sentences about what makes a choice uncertain: a busy machine, missing ONNX times, a single seed."""
    if busy := sum(bool(row["busy"]) for row in rows):
        yield (
            f"The machine was busy when {busy} of the {len(rows)} were measured: their milliseconds are CPU time, and "
            "may still be too many."
        )
    if any(row["runtime"] != "onnx" for row in rows):
        yield "In ONNX, which is what is exported, not all were measured; the report says why."
    if min(row["seeds"] for row in rows) == 1:
        yield "Trained with one seed: with another, other students may be the best."


def _share(excess: float, limit: float) -> float:
    return excess / limit if limit else float("inf")
