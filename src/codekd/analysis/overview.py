"""The first screen of a report: a sentence a task that an engineer can act on, and findings in a few words each."""

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from codekd.analysis.findings import distinguishable, estimate
from codekd.analysis.numbers import metric_name, percent, points, ratio, size
from codekd.analysis.questions import ALL
from codekd.analysis.significance import LEVEL
from codekd.analysis.tables import NAMES, REFERENCE, best_on_validation
from codekd.analysis.variance import FEWEST_GROUPS

Row = dict[str, Any]


def verdicts(scores: pl.DataFrame, pareto: pl.DataFrame) -> list[Row]:
    """Of every task the ``student`` and ``method`` that are best on the validation split and in ``text`` what they do.

    Chosen on the test split, its score there would flatter it.
    """
    served = pareto.select(*NAMES, "milliseconds", "speed_up", "megabytes", "busy")
    best = best_on_validation(scores, "task").join(served, NAMES, "left", maintain_order="left")
    keys = "task", "student", "method"
    return [{key: row[key] for key in keys} | {"text": _verdict(row)} for row in best.iter_rows(named=True)]


def caveats(tests: pl.DataFrame, scores: pl.DataFrame, pareto: pl.DataFrame, mixed: list[str]) -> list[str]:
    """What bounds every number of the page, each in a sentence."""
    sentences = []
    if scores["seeds"].min() == 1:
        sentences.append(
            "One seed: intervals are those of these models, for other test examples. One seed does not tell whether a "
            "method is better or was lucky in training, so nothing here is called better or worse."
        )
    if few := list(tests.filter(pl.col("groups") < FEWEST_GROUPS).iter_rows(named=True)):
        told = ", ".join(
            f"{row['task']} ({row['groups']}; {row['largest_group']} {percent(row['largest_share'])} %)" for row in few
        )
        sentences.append(
            f"Few groups: the test examples of {told} come from fewer than {FEWEST_GROUPS} packages or other groups. "
            "Intervals there are about further examples of these, and say nothing about other ones."
        )
    if pareto["busy"].any():
        sentences.append("Times of serving were measured on a busy machine; measure again before you rely on them.")
    if mixed:
        sentences.append(
            "Numbers of one comparison were made on different machines, which round differently and may move a score "
            f"by some points. {' '.join(mixed)}"
        )
    return sentences


def in_short(made: Mapping[str, pl.DataFrame]) -> dict[str, list[str]]:
    """The findings by question, in as few words as carry them; the sections below have the evidence."""
    scores, costs = made["scores"], made["costs"].filter(pl.col("method") != REFERENCE).drop_nulls("per_example")
    training = costs.group_by("method", maintain_order=True).agg(pl.col("per_example").median()).sort("per_example")
    steps = ", ".join(f"{method} {ratio(times)}" for method, times in training.iter_rows())
    return {
        "Above n-grams?": _by_task(scores, lambda rows: _against(rows, "above_floor", "floor_p_corrected")),
        f"Better than {REFERENCE}?": _by_task(scores, lambda rows: _against(rows, "difference", "p_corrected")),
        "Which teacher?": [
            f"{row['task']}: {row['teacher']} against {row['other']} {_difference(row, 'difference', 'p_corrected')}."
            for row in made["teachers"].filter(method=ALL).iter_rows(named=True)
        ],
        "Transformer or recurrent?": [
            f"{row['task']}: {row['student']} against {row['other']} {_difference(row, 'difference', 'p_corrected')}."
            for row in made["architectures"].filter(method=ALL).iter_rows(named=True)
        ],
        "Dearer than ft?": [f"Per example seen: {steps}."] if steps else [],
    }


def _by_task(table: pl.DataFrame, tell: Callable[[pl.DataFrame], str]) -> list[str]:
    several = table["teacher"].n_unique() > 1
    groups = table.group_by("task", "teacher", maintain_order=True)
    told = [(f"{task}, teacher {teacher}" if several else str(task), tell(rows)) for (task, teacher), rows in groups]
    return [f"{name}: {text}." for name, text in told if text]


def _against(rows: pl.DataFrame, name: str, p_name: str) -> str:
    """How many of some students are above and below what a difference is to, and the highest."""
    known = rows.drop_nulls(name).sort(name, descending=True)
    if known.is_empty():
        return ""
    sure_first = pl.col(p_name).lt(LEVEL).fill_null(False) & (pl.col(name) > 0)
    first = known.sort(sure_first, pl.col(name), descending=True).row(0, named=True)
    highest = f"highest {first['student']} {first['method']} {estimate(first, name, points)}"
    if first[p_name] is None:
        return f"{int((known[name] > 0).sum())} of {len(known)} score more, {highest}"
    sure = [row[name] > 0 for row in known.iter_rows(named=True) if distinguishable(row, p_name)]
    above = f"{sum(sure)} of {len(known)} above" if any(sure) else f"none of {len(known)} above"
    return f"{above}{f', {len(sure) - sum(sure)} below' if not all(sure) else ''}; {highest}"


def _difference(row: Row, name: str, p_name: str) -> str:
    doubt = "" if row[p_name] is None or distinguishable(row, p_name) else ", not distinguishable"
    return f"{estimate(row, name, points)} points{doubt}"


def _verdict(row: Row) -> str:
    metric = metric_name(row["metric"])
    parts = [f"reaches {estimate(row, 'score', percent)} % {metric} with {size(row['parameters'])} parameters"]
    if row["retention"] is not None:
        share = f"{percent(row['share_of_teacher'])} % of its parameters ({size(row['parameters'])})"
        parts = [f"keeps {estimate(row, 'retention', percent)} % of {row['teacher']}’s {metric} with {share}"]
    if row["milliseconds"] is not None:
        faster = f"{row['speed_up']:.1f} times as fast" if row["speed_up"] else ""
        busy = " on a busy machine" if row["busy"] else ""
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
