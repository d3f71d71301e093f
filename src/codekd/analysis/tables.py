"""The tables of a report, as polars frames.

A method that needs no teacher is listed under every teacher of its task: there it is what the others are
compared with, and its retention is relative to that teacher. All scores are shares in [0, 1].
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import polars as pl

from codekd.analysis.intervals import Scores, f1, interval
from codekd.analysis.resampled import Group, Resampled
from codekd.analysis.results import NO_TEACHER, Cell, Run, Task
from codekd.analysis.significance import LEVEL, average_ranks, corrected, p_value

REFERENCE = "ft"
TEACHER = "teacher"
"""In the place of a method, where a row is about the teacher itself."""

NAMES = ("task", "teacher", "student", "method")
Row = dict[str, Any]
Schema = dict[str, type[pl.DataType]]


def numbers(*names: str) -> Schema:
    """Columns of floats."""
    return dict.fromkeys(names, pl.Float64)


def with_interval(name: str) -> Schema:
    """Columns of an estimate and both ends of its interval."""
    return numbers(name, f"{name}_low", f"{name}_high")


NAMED: Schema = dict.fromkeys(NAMES, pl.String)
SCORES: Schema = {
    **NAMED,
    "metric": pl.String,
    "seeds": pl.Int64,
    **with_interval("score"),
    **numbers("std", "valid_score", "floor", "teacher_score", "valid_retention"),
    **with_interval("retention"),
    **with_interval("difference"),
    **numbers("p_value", "p_corrected"),
    **numbers("seconds", "relative_seconds", "relative_seconds_per_example", "examples_seen", "joules"),
    "parameters": pl.Int64,
    "share_of_teacher": pl.Float64,
}
METHODS: Schema = {
    **dict.fromkeys(("task", "teacher", "method"), pl.String),
    "students": pl.Int64,
    **with_interval("difference"),
    **numbers("p_value", "p_corrected"),
    **dict.fromkeys(("above", "below"), pl.Int64),
}
RANKS: Schema = {
    **dict.fromkeys(("teacher", "method"), pl.String),
    "rank": pl.Float64,
    "blocks": pl.Int64,
    **numbers("p_value", "critical_difference"),
}
REFERENCES: Schema = {
    **dict.fromkeys(("task", "kind", "name", "metric"), pl.String),
    "parameters": pl.Int64,
    **with_interval("score"),
    **with_interval("above_floor"),
}
TYPES: Schema = {**NAMED, "type": pl.String, "examples": pl.Int64, **numbers("recall", "f1")}


def cells(tasks: Iterable[Task]) -> pl.DataFrame:
    """One row a trained student, with every score that it has on each split."""
    rows = [
        dict(zip(NAMES, (task.name, cell.teacher, cell.student, cell.method), strict=True))
        | {"seed": cell.seed, "test_score": task.score(cell.run), "valid_score": task.score(cell.run, "valid")}
        | {key: value for key, value in cell.run.metrics.items() if isinstance(value, int | float | str)}
        | _split_scores(cell.run)
        for task in tasks
        for cell in task.cells
    ]
    return pl.from_dicts(rows, infer_schema_length=None)


def scores(tasks: Iterable[Resampled]) -> pl.DataFrame:
    """One row per task, teacher, student and method: means over seeds with 95 % intervals.

    ``difference`` is to plain fine-tuning of the same student, with the p-value of its being zero, as it is and
    corrected for the number of differences of the task and teacher; ``relative_seconds`` is the ratio of their
    training times, in total and per example seen. Null: no teacher, no plain fine-tuning, no floor or, for
    ``std``, one seed.
    """
    rows: list[Row] = []
    for task in tasks:
        for teacher, groups in task.panels:
            rows += with_corrected([_scores_row(task, teacher, group) for group in groups])
    return pl.DataFrame(rows, SCORES)


def methods(tasks: Iterable[Resampled], scores: pl.DataFrame) -> pl.DataFrame:
    """One row per task, teacher and method: its mean difference to plain fine-tuning over the students.

    ``above`` and ``below`` count the students whose own difference in ``scores`` is distinguishable from zero, with
    its correction for their number.
    """
    rows: list[Row] = []
    for task in tasks:
        for teacher, groups in task.panels:
            of_teacher: list[Row] = []
            for method in dict.fromkeys(method for _, _, method in groups if method != REFERENCE):
                having = [group for group in groups if group[2] == method and plain(group) in task.groups]
                if having:
                    own = scores.filter(task=task.task.name, teacher=teacher, method=method)
                    of_teacher.append(_methods_row(task, teacher, method, having, own))
            rows += with_corrected(of_teacher)
    return pl.DataFrame(rows, METHODS)


def ranks(scores: pl.DataFrame) -> pl.DataFrame:
    """Average ranks of the methods of a teacher over all tasks and students that have all of them, the best first.

    With the p-value of the Friedman test of their being equal, and the difference that two ranks need to be
    distinguishable at the level of 5 %. A teacher with fewer than three methods or two tasks and students has none.
    """
    rows: list[Row] = []
    for (teacher,), own in scores.group_by("teacher", maintain_order=True):
        wide = own.pivot("method", index=["task", "student"], values="score", maintain_order=True).drop_nulls()
        names = [name for name in wide.columns if name not in ("task", "student")]
        if found := average_ranks(names, wide.select(names).to_numpy()):
            shared = {"blocks": found.blocks, "p_value": found.p_value}
            shared |= {"critical_difference": found.critical_difference}
            for rank, method in sorted(zip(found.ranks, found.methods, strict=True)):
                rows.append({"teacher": teacher, "method": method, "rank": rank, **shared})
    return pl.DataFrame(rows, RANKS)


def best_on_validation(scores: pl.DataFrame, *by: str) -> pl.DataFrame:
    """For every combination of ``by``, in the table's order, the row with the best score on the validation split."""
    ranked = scores.sort("valid_score", descending=True, maintain_order=True)
    best = ranked.unique(by, keep="first", maintain_order=True)
    return scores.select(by).unique(maintain_order=True).join(best, by, maintain_order="left")


def best_students(scores: pl.DataFrame) -> dict[str, str]:
    """Of every task the student with the best score on the validation split."""
    return dict(best_on_validation(scores, "task").select("task", "student").iter_rows())


def references(tasks: Iterable[Resampled]) -> pl.DataFrame:
    """One row per floor and teacher: its score and how far it is above the floor, with 95 % intervals.

    A teacher that left no predictions has no intervals.
    """
    rows = []
    for resampled in tasks:
        task, floor = resampled.task, resampled.task.floor
        runs = [("floor", "", floor, resampled.floor)] if floor else []
        runs += [("teacher", name, run, resampled.teachers.get(name)) for name, run in task.teachers.items()]
        for kind, name, run, drawn in runs:
            row: Row = {"task": task.name, "kind": kind, "name": name, "metric": task.metric}
            row |= {"parameters": run.metrics.get("parameters"), **_estimate("score", task.score(run), drawn)}
            if floor and kind == "teacher":
                above = drawn - resampled.floor if drawn is not None and resampled.floor is not None else None
                row |= _estimate("above_floor", task.score(run) - task.score(floor), above)
            rows.append(row)
    return pl.DataFrame(rows, REFERENCES)


def as_students(references: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """The teachers in the form of students' scores: without a student, :data:`TEACHER` in the place of a method."""
    fixed = [pl.lit("").alias("student"), pl.lit(TEACHER).alias("method")]
    return references.filter(kind="teacher").select("task", *columns, pl.col("name").alias("teacher"), *fixed)


def types(tasks: Iterable[Resampled]) -> pl.DataFrame:
    """Recall and F1 per type of positive example, where a two-class task tells types apart; means over seeds.

    The F1 of a type is that of its positives among all negatives. The floor's and the teachers' rows have no
    student.
    """
    rows = []
    for resampled in tasks:
        task = resampled.task
        if task.types is None or len(task.classes) != 2:
            continue
        runs: list[tuple[str, str, str, Sequence[Run]]] = []
        for teacher, groups in resampled.panels:
            if task.floor:
                runs.append((teacher, "", "floor", [task.floor]))
            if teacher in resampled.teachers:
                runs.append((teacher, "", "teacher", [task.teachers[teacher]]))
            runs += [(teacher, *group[1:], [cell.run for cell in resampled.groups[group]]) for group in groups]
        for *names, sample in runs:
            rows += [dict(zip(NAMES, (task.name, *names), strict=True)) | row for row in _per_type(task, sample)]
    return pl.DataFrame(rows, TYPES)


def plain(group: Group) -> Group:
    """Plain fine-tuning of the same student."""
    return NO_TEACHER, group[1], REFERENCE


def compared(difference: float, drawn: Scores, name: str = "difference", p_name: str = "p_value") -> Row:
    """A difference, its interval, and the p-value of its being zero."""
    return _estimate(name, difference, drawn) | {p_name: p_value(difference, drawn)}


def with_corrected(rows: list[Row], p_name: str = "p_value", name: str = "p_corrected") -> list[Row]:
    """Rows with their p-values corrected for how many they are."""
    given = [row for row in rows if p_name in row]
    for row, value in zip(given, corrected([row[p_name] for row in given]), strict=True):
        row[name] = value
    return rows


def _scores_row(resampled: Resampled, teacher: str, group: Group) -> Row:
    task, own, drawn = resampled.task, resampled.groups[group], resampled.students[group]
    values = [task.score(cell.run) for cell in own]
    score, parameters = resampled.score(group), own[0].run.metrics["parameters"]
    row: Row = {
        **dict(zip(NAMES, (task.name, teacher, *group[1:]), strict=True)),
        "metric": task.metric,
        "seeds": len(values),
        **_estimate("score", score, drawn),
        "std": np.std(values, ddof=1) if len(values) > 1 else None,
        "valid_score": np.mean([task.score(cell.run, "valid") for cell in own]),
        "floor": task.score(task.floor) if task.floor else None,
        "seconds": _mean(own, "train_seconds"),
        "examples_seen": _mean(own, "examples_seen"),
        "joules": _mean(own, "joules"),
        "parameters": parameters,
    }
    if run := task.teachers.get(teacher):
        best = task.score(run)
        valid = task.score(run, "valid")
        row["valid_retention"] = row["valid_score"] / valid if valid > 0 else None
        row |= {"teacher_score": best, "share_of_teacher": parameters / run.metrics["parameters"]}
        if best > 0:
            with np.errstate(divide="ignore", invalid="ignore"):
                row |= _estimate("retention", score / best, drawn / resampled.teachers.get(teacher, best))
    reference = plain(group)
    if plainly := resampled.groups.get(reference):
        row["relative_seconds"] = row["seconds"] / _mean(plainly, "train_seconds")
        row["relative_seconds_per_example"] = _seconds_per_example(own) / _seconds_per_example(plainly)
        if group != reference:
            row |= compared(score - resampled.score(reference), drawn - resampled.students[reference])
    return row


def _methods_row(resampled: Resampled, teacher: str, method: str, groups: Sequence[Group], scores: pl.DataFrame) -> Row:
    gain = float(np.mean([resampled.score(group) - resampled.score(plain(group)) for group in groups]))
    drawn = [resampled.students[group] - resampled.students[plain(group)] for group in groups]
    sure = scores.filter(pl.col("p_corrected") < LEVEL)["difference"]
    return {
        "task": resampled.task.name,
        "teacher": teacher,
        "method": method,
        "students": len(groups),
        **compared(gain, np.mean(drawn, axis=0)),
        "above": int((sure > 0).sum()),
        "below": int((sure < 0).sum()),
    }


def _per_type(task: Task, runs: Sequence[Run]) -> Iterable[Row]:
    assert task.types is not None
    predictions = np.stack([run.predictions for run in runs if run.predictions is not None])
    positive, negative = task.labels == 1, task.labels == 0
    for name in sorted(set(task.types[positive]) - {None}):
        of_type = positive & (task.types == name)
        among = of_type | negative
        once = np.ones((1, among.sum()), dtype=np.float32)
        yield {
            "type": name,
            "examples": int(of_type.sum()),
            "recall": float((predictions[:, of_type] == 1).mean()),
            "f1": float(f1(once, task.labels[among], predictions[:, among]).mean()),
        }


def _estimate(name: str, value: float, drawn: Scores | None) -> Row:
    """A number and, where it was resampled, its interval; a ratio to a resampled zero has none."""
    if drawn is None or not np.isfinite(drawn).all():
        return {name: value}
    low, high = interval(drawn)
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def _mean(group: Sequence[Cell], name: str) -> Any:
    """Of a metric, None where not all have it."""
    values: list[Any] = [cell.run.metrics.get(name) for cell in group]
    return None if None in values else float(np.mean(values))


def _seconds_per_example(group: Sequence[Cell]) -> float:
    metrics = [cell.run.metrics for cell in group]
    return float(np.mean([run["train_seconds"] / run["examples_seen"] for run in metrics]))


def _split_scores(run: Run) -> Row:
    splits = run.metrics["scores"].items()
    return {f"{split}_{name}": score for split, scores in splits for name, score in scores.items()}
