"""First screen of a report: for each task a sentence on the student to use, then caveats, and findings in few words.

Frames among the arguments are the report's tables of the same names.
"""

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from codekd.analysis.findings import ONE_SEED, distinguishable, estimate, place
from codekd.analysis.numbers import metric_name, percent, points, size
from codekd.analysis.practice import per_example
from codekd.analysis.questions import ALL
from codekd.analysis.significance import LEVEL
from codekd.analysis.tables import NAMES, REFERENCE, best_on_validation
from codekd.analysis.variance import FEWEST_GROUPS

Row = dict[str, Any]

LISTED = 16
"""Largest number of pairs of student and method that are named one by one."""


def verdicts(scores: pl.DataFrame, pareto: pl.DataFrame) -> list[Row]:
    """The best student and method of every task, with a sentence about its score, size, speed and margin over n-grams.

    It is chosen on the validation split, because the test score of a choice on test would be too high.

    Returns:
        One row a task: ``task``, ``student``, ``method``, and the sentence's predicate as ``text``.
    """
    served = pareto.select(*NAMES, "milliseconds", "speed_up", "megabytes", "busy")
    best = best_on_validation(scores, "task").join(served, NAMES, "left", maintain_order="left")
    keys = "task", "student", "method"
    return [{key: row[key] for key in keys} | {"text": _verdict(row)} for row in best.iter_rows(named=True)]


def caveats(
    tests: pl.DataFrame, scores: pl.DataFrame, pareto: pl.DataFrame, mixed: list[str], mixed_times: list[str]
) -> list[str]:
    """Sentences about limits of all numbers of a report: one seed, few groups, missing classes, busy or mixed machines.

    Args:
        mixed: sentences about machines that differ within a comparison of scores.
        mixed_times: sentences about machines that differ within a comparison of serving times.
    """
    sentences = []
    if scores["seeds"].min() == 1:
        sentences.append(
            "One seed: intervals are those of these models, for other test examples. One seed does not tell whether a "
            "method is better or was lucky in training, so nothing here is called better or worse."
        )
    few = tests.filter(pl.col("unit") != "group").drop_nulls("groups")
    if told := [
        f"{row['task']} ({row['groups']}; {row['largest_group']} {percent(row['largest_share'])} %)"
        for row in few.iter_rows(named=True)
    ]:
        sentences.append(
            f"Few groups: the test examples of {', '.join(told)} come from fewer than {FEWEST_GROUPS} packages or "
            "other groups, or more than a third of them from one. Intervals there are about further examples of these, "
            "and say nothing about other ones."
        )
    for task, lacking in tests.drop_nulls("lacking").select("task", "lacking").iter_rows():
        sentences.append(f"No test example of {task} is of {lacking}: nothing here is about these classes.")
    if pareto["busy"].any():
        sentences.append(
            "Times of serving were measured on a busy machine and are CPU time; measure them again on a quiet one."
        )
    if mixed:
        sentences.append(
            "Numbers of one comparison were made on different machines, which round differently and may move a score "
            f"by some points. {' '.join(mixed)}"
        )
    if mixed_times:
        sentences.append(
            f"Times of serving that are compared were measured on different machines. {' '.join(mixed_times)}"
        )
    return sentences


def in_short(made: Mapping[str, pl.DataFrame]) -> dict[str, list[str]]:
    """Short answers to the study's questions, as lines by question; ``made`` has the report's tables by name."""
    scores, steps = made["scores"], per_example(made["costs"])
    return {
        "Above n-grams?": _by_teacher(scores, _floors),
        f"Better than {REFERENCE}?": _by_teacher(scores, _plain),
        "Which teacher?": [
            f"{row['task']}: students of {row['teacher']} {estimate(row, 'difference', points)} points against those "
            f"of {row['other']}."
            for row in made["teachers"].filter(method=ALL).iter_rows(named=True)
        ],
        "Transformer or recurrent?": _by_teacher(made["architectures"].filter(method=ALL), _architectures),
        f"Dearer than {REFERENCE}?": [f"Per example seen: {steps}."] if steps else [],
    }


def _by_teacher(table: pl.DataFrame, tell: Callable[[pl.DataFrame], str]) -> list[str]:
    """A line for every task, and teacher where there are several, that ``tell`` has text for."""
    several = table["teacher"].n_unique() > 1
    groups = table.group_by("task", "teacher", maintain_order=True)
    told = [(place(*key, several=several), tell(rows)) for key, rows in groups]
    return [f"{name}: {text}." for name, text in told if text]


def _floors(rows: pl.DataFrame) -> str:
    """Students above, below and not distinguishable from n-grams; of one seed, by their scores alone."""
    known = rows.drop_nulls("above_floor")
    if known.is_empty():
        return ""
    one_seed = known["floor_p_corrected"].null_count() > 0
    titles = ("score more", "score less", "score the same") if one_seed else ("above", "below", "not distinguishable")
    difference = pl.col("above_floor")
    level = difference == 0 if one_seed else pl.col("floor_p_corrected") >= LEVEL
    parts = known.filter(difference > 0, ~level), known.filter(difference < 0, ~level), known.filter(level)
    told = [f"{_names(part, known)} {title}" for title, part in zip(titles, parts, strict=True) if len(part)]
    return "; ".join(told) + (ONE_SEED if one_seed else "")


def _names(part: pl.DataFrame, whole: pl.DataFrame) -> str:
    """Students of ``part`` with their methods, or their number where it is all of ``whole`` or too long a list."""
    if (len(part) == len(whole) > 1) or len(whole) > LISTED:
        return f"all {len(whole)}" if len(part) == len(whole) else f"{len(part)} of {len(whole)}"
    methods = part.group_by("student", maintain_order=True).agg("method")
    return ", ".join(f"{student} ({', '.join(names)})" for student, names in methods.iter_rows())


def _plain(rows: pl.DataFrame) -> str:
    """Number of students better and worse than plain fine-tuning, and the one that is best on validation."""
    known = rows.drop_nulls("difference")
    if known.is_empty():
        return ""
    best = best_on_validation(known, "task").row(0, named=True)
    chosen = f"{best['student']} {best['method']}, best on validation, {estimate(best, 'difference', points)}"
    if best["p_corrected"] is None:
        return f"one seed does not tell; {chosen}"
    sure = [row["difference"] > 0 for row in known.iter_rows(named=True) if distinguishable(row)]
    worse = f", {len(sure) - sum(sure)} worse" if not all(sure) else ""
    return f"{sum(sure) or 'none'} of {len(known)} better{worse}; {chosen}"


def _architectures(rows: pl.DataFrame) -> str:
    return "; ".join(
        f"{row['student']} against {row['other']} {estimate(row, 'difference', points)} points{_doubt(row)}"
        for row in rows.iter_rows(named=True)
    )


def _doubt(row: Row) -> str:
    if row["p_corrected"] is None:
        return ONE_SEED
    return "" if distinguishable(row) else ", not distinguishable"


def _verdict(row: Row) -> str:
    metric = metric_name(row["metric"])
    parts = [f"reaches {estimate(row, 'score', percent)} % {metric} with {size(row['parameters'])} parameters"]
    if row["retention"] is not None:
        share = f"{percent(row['share_of_teacher'])} % of its parameters ({size(row['parameters'])})"
        parts = [f"keeps {estimate(row, 'retention', percent)} % of {row['teacher']}’s {metric} with {share}"]
    if row["milliseconds"] is not None:
        faster = f"{row['speed_up']:.1f} times as fast" if row["speed_up"] else ""
        busy = " of CPU time" if row["busy"] else ""
        takes = f"{row['milliseconds']:.1f} ms{busy}, {row['megabytes']:.1f} MB"
        parts.append(f"answers {faster} ({takes})" if faster else f"answers in {takes}")
    if row["above_floor"] is not None:
        parts.append(_floor(row))
    return f"{', '.join(parts[:-1])}{' and ' if parts[1:] else ''}{parts[-1]}."


def _floor(row: Row) -> str:
    difference = f"{estimate(row, 'above_floor', points)} points"
    if row["floor_p_corrected"] is None:
        return f"stands {difference} against n-grams"
    if not distinguishable(row, "floor_p_corrected"):
        return f"is not distinguishable from n-grams ({difference})"
    return f"is {'above' if row['above_floor'] > 0 else 'below'} n-grams ({difference})"
