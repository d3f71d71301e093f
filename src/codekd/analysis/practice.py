"""Sentences of a report about training costs, serving times and fidelity of students.

Frames among the arguments are the report's tables of the same names.
"""

from collections.abc import Collection

import polars as pl

from codekd.analysis.numbers import duration, percent, ratio, share
from codekd.analysis.tables import REFERENCE, TEACHER, best_on_validation, best_students

RUNTIMES = {"onnx": "ONNX", "pytorch": "PyTorch"}
BUSY = "Measured on a busy machine: these are milliseconds of CPU time."


def per_example(costs: pl.DataFrame) -> str:
    """Methods with their median training time per example relative to plain fine-tuning: ``kd 0.97×, ckd 1.10×``."""
    compared = costs.filter(pl.col("method") != REFERENCE).drop_nulls("per_example")
    each = compared.group_by("method", maintain_order=True).agg(pl.col("per_example").median())
    return ", ".join(f"{method} {ratio(times)}" for method, times in each.sort("per_example").iter_rows())


def training(costs: pl.DataFrame) -> list[str]:
    """Sentences about training costs: per example seen against plain fine-tuning, with the teacher online, in energy.

    Returns:
        Up to three sentences; none where no method is compared with plain fine-tuning.
    """
    compared = costs.filter(pl.col("method") != REFERENCE).drop_nulls("per_example")
    if compared.is_empty():
        return []
    sentences = [f"Per example seen, training takes this many times the seconds of {REFERENCE}: {per_example(costs)}."]
    online = compared.drop_nulls("online_relative")
    if len(online):
        rises = online["online_seconds"] / online["seconds"]
        low, high = (ratio(float(end)) for end in (rises.min(), rises.max()))  # type: ignore[arg-type]
        between = low if low == high else f"{low} to {high}"
        once = (
            costs.unique(["task", "teacher"], maintain_order=True)
            .select(pl.sum("teacher_seconds", "capture_seconds"))
            .row(0)
        )
        sentences.append(
            f"With the teacher in every step it would take {between} the time that it does from the cache, by what the "
            f"teachers' capture took. Their own training, {duration(once[0])} in all, and capture, "
            f"{duration(once[1])}, are paid once."
        )
    joules = compared.drop_nulls("relative_joules")
    if len(joules):
        middle = float(joules["relative_joules"].median())  # type: ignore[arg-type]
        sentences.append(f"In energy, a whole training takes {ratio(middle)} what {REFERENCE} does, the median of all.")
    return sentences


def inference(pareto: pl.DataFrame, scores: pl.DataFrame) -> list[str]:
    """Sentences about serving: time, speed-up and retention of the student that is best on the validation split.

    There is one sentence a task and teacher, which says so where the machine was busy.
    """
    sentences = []
    best = best_on_validation(scores, "task", "teacher")
    for (task, teacher), rows in pareto.group_by("task", "teacher", maintain_order=True):
        alone = rows.filter(method=TEACHER)
        chosen = best.filter(task=task, teacher=teacher).join(rows, ["task", "teacher", "student", "method"])
        if alone.is_empty() or chosen.is_empty():
            continue
        slow, fast = alone.row(0, named=True), chosen.row(0, named=True)
        sentences.append(
            f"{task}: {fast['student']} answers in {fast['milliseconds']:.1f} ms on one CPU thread in "
            f"{RUNTIMES[fast['runtime']]}, tokenizer included, {ratio(fast['speed_up'])} as fast as {teacher} "
            f"({slow['milliseconds']:.1f} ms), and keeps {share(fast['retention'])} % of its score, trained with "
            f"{fast['method']}.{' ' + BUSY if fast['busy'] or slow['busy'] else ''}"
        )
    return sentences


def without_onnx(served: pl.DataFrame) -> list[str]:
    """Sentences about models whose serving was measured in PyTorch alone, with the reason."""
    sentences = []
    for (reason,), rows in served.drop_nulls("without_onnx").group_by("without_onnx", maintain_order=True):
        names = (rows["task"] + "/" + rows["name"]).unique(maintain_order=True)
        sentences.append(f"Measured in PyTorch alone: {', '.join(names)}. {reason}.")
    return sentences


def behaviour(table: pl.DataFrame, scores: pl.DataFrame, controls: Collection[str] = ()) -> list[str]:
    """Sentences about fidelity: agreement with the teacher of distilled and of fine-tuned students.

    Each is about the student of a task that is best on the validation split, and gives the accuracies where the
    teacher and the fine-tuned student disagree.

    Args:
        table: the ``behaviour`` table.
        controls: methods that do not count as ways to distil.
    """
    best = best_students(scores)
    sentences = []
    known = table.drop_nulls("agreement")
    for (task, teacher), rows in known.group_by("task", "teacher", maintain_order=True):
        own = rows.filter(student=best[str(task)])
        distilled = own.filter(~pl.col("method").is_in([REFERENCE, *controls]))
        plainly = own.filter(method=REFERENCE)
        if distilled.is_empty() or plainly.is_empty():
            continue
        means = distilled.select(pl.mean("agreement", "disputed_score", "disputed_plain")).row(0, named=True)
        sentences.append(
            f"{task}: distilled {best[str(task)]} agrees with {teacher} on {percent(means['agreement'])} % of the test "
            f"examples, the mean over methods, and fine-tuned on {percent(plainly['agreement'][0])} %. Where {teacher} "
            f"and the fine-tuned one differ, it is right on {share(means['disputed_score'])} % and the fine-tuned one "
            f"on {share(means['disputed_plain'])} %."
        )
    return sentences
