"""Tables of a report, as polars frames: scores, methods, ranks, reference models and test splits.

A method that needs no teacher is listed under every teacher of its task, to compare the others with it; its retention
is relative to that teacher. All scores are shares in [0, 1]. Several functions return part of a row: a mapping of
columns to values.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import polars as pl

from codekd.analysis.estimates import Estimates, Group
from codekd.analysis.jackknife import f1_of_class
from codekd.analysis.results import NO_TEACHER, Cell, Run, Task
from codekd.analysis.significance import LEVEL, average_ranks, corrected
from codekd.analysis.variance import Estimate, mean

REFERENCE = "ft"
TAUGHT = "taught"
"""Kind of a reference model: an n-gram floor that was fitted to a teacher's predictions."""

TEACHER = "teacher"
"""Name in place of a method's in rows about the teacher itself."""

NAMES = ("task", "teacher", "student", "method")
Row = dict[str, Any]
Schema = dict[str, type[pl.DataType]]


def numbers(*names: str) -> Schema:
    """Schema of columns of floats."""
    return dict.fromkeys(names, pl.Float64)


def with_interval(name: str) -> Schema:
    """Schema of an estimate and both ends of its interval: ``name``, ``name_low`` and ``name_high``."""
    return numbers(name, f"{name}_low", f"{name}_high")


NAMED: Schema = dict.fromkeys(NAMES, pl.String)
SCORES: Schema = {
    **NAMED,
    "metric": pl.String,
    "seeds": pl.Int64,
    **with_interval("score"),
    **numbers("std", "valid_score", "floor", "taught_floor", "teacher_score"),
    **with_interval("above_floor"),
    **numbers("floor_p_value", "floor_p_corrected"),
    **with_interval("retention"),
    "valid_retention": pl.Float64,
    **with_interval("difference"),
    **numbers("p_value", "p_corrected"),
    **numbers("seconds", "wall_seconds", "relative_seconds", "relative_seconds_per_example", "examples_seen", "joules"),
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
TESTS: Schema = {
    "task": pl.String,
    **dict.fromkeys(("examples", "groups"), pl.Int64),
    "largest_group": pl.String,
    "largest_share": pl.Float64,
    "unit": pl.String,
    "units": pl.Int64,
    "lacking": pl.String,
}
TYPES: Schema = {**NAMED, "type": pl.String, "examples": pl.Int64, **numbers("recall", "f1")}


def cells(tasks: Iterable[Task]) -> pl.DataFrame:
    """Training runs: one row a student and seed, with its scores on each split and its test margin over the floor."""
    rows = [
        dict(zip(NAMES, (task.name, cell.teacher, cell.student, cell.method), strict=True))
        | {"seed": cell.seed, "test_score": task.score(cell.run), "valid_score": task.score(cell.run, "valid")}
        | {"above_floor": task.score(cell.run) - task.score(task.floor) if task.floor else None}
        | {key: value for key, value in cell.run.metrics.items() if isinstance(value, int | float | str)}
        | _split_scores(cell.run)
        for task in tasks
        for cell in task.cells
    ]
    return pl.from_dicts(rows, infer_schema_length=None)


def scores(tasks: Iterable[Estimates]) -> pl.DataFrame:
    """Scores of students: one row per task, teacher, student and method, as means over seeds with 95 % intervals.

    ``difference`` is to plain fine-tuning of the same student, and ``above_floor`` to n-grams, with the p-values of
    their being zero, uncorrected and corrected for the number of such differences of the task and teacher.
    ``retention`` and ``valid_retention`` are shares of the teacher's score on the test and validation splits.
    ``seconds`` of training are CPU time, or wall time on a GPU; ``relative_seconds`` is their ratio to plain
    fine-tuning's, in total and per example seen. ``taught_floor`` is the score of n-grams fitted to the teacher's
    predictions. Columns are null where the teacher, plain fine-tuning or the floor is missing; ``std`` and p-values
    also with one seed, and ratios of seconds where devices or processors differ.
    """
    rows: list[Row] = []
    for task in tasks:
        for teacher, groups in task.panels:
            own = [_scores_row(task, teacher, group) for group in groups]
            rows += with_corrected(with_corrected(own), "floor_p_value", "floor_p_corrected")
    return pl.DataFrame(rows, SCORES)


def methods(tasks: Iterable[Estimates], scores: pl.DataFrame, controls: Collection[str] = ()) -> pl.DataFrame:
    """Differences to plain fine-tuning: one row per task, teacher and method, the mean over students.

    The students are the :func:`comparable` ones that have the method, or all that have it where none of these does.
    ``above`` and ``below`` count the students whose own difference in ``scores`` is significant after its correction;
    null with one seed.

    Args:
        tasks: the study's tasks.
        scores: the table of :func:`scores`.
        controls: methods that do not count as ways to distil.
    """
    rows: list[Row] = []
    compared = comparable(scores, controls)
    for task in tasks:
        for teacher, groups in task.panels:
            of_teacher: list[Row] = []
            shared = compared.filter(task=task.task.name, teacher=teacher)["student"].to_list()
            for method in dict.fromkeys(method for _, _, method in groups if method != REFERENCE):
                having = [group for group in groups if group[2] == method and plain(group) in task.groups]
                having = [group for group in having if group[1] in shared] or having
                if having:
                    students = [student for _, student, _ in having]
                    own = scores.filter(
                        pl.col("student").is_in(students), task=task.task.name, teacher=teacher, method=method
                    )
                    of_teacher.append(_methods_row(task, teacher, method, having, own))
            rows += with_corrected(of_teacher)
    return pl.DataFrame(rows, METHODS)


def comparable(scores: pl.DataFrame, controls: Collection[str] = ()) -> pl.DataFrame:
    """The rows of students on which methods can be compared: those with the most methods of a task and teacher.

    Means over different students would compare the students, and not the methods. ``controls`` are not counted.
    """
    counts = scores.group_by("task", "teacher", "student").agg(
        methods=pl.col("method").filter(~pl.col("method").is_in([*controls])).n_unique()
    )
    most = counts.filter(pl.col("methods") == pl.col("methods").max().over("task", "teacher"))
    return scores.join(most, ["task", "teacher", "student"], "semi", maintain_order="left")


def ranks(scores: pl.DataFrame, controls: Collection[str] = ()) -> pl.DataFrame:
    """Average ranks of the methods of every teacher over the tasks, the best first.

    A task is one block: its students are trained on the same examples, and do not tell more than one of them whether a
    method is better on other tasks. A method's score in a task is its mean over :func:`comparable` students; a method
    that one of these lacks has no rank.
    ``p_value`` is that of the Friedman test of the ranks' being equal, and ``critical_difference`` the difference at
    which two ranks are distinguishable at the level of 5 %; both are null with one seed. A teacher with fewer than
    three methods or two tasks has no rows.
    """
    rows: list[Row] = []
    for (teacher,), own in comparable(scores, controls).group_by("teacher", maintain_order=True):
        wide = own.pivot("method", index=["task", "student"], values="score", maintain_order=True)
        names = [name for name in wide.columns if name not in ("task", "student") and not wide[name].has_nulls()]
        blocks = wide.group_by("task", maintain_order=True).agg(pl.col(names).mean())
        if found := average_ranks(names, blocks.select(names).to_numpy()):
            shared: Row = {"blocks": found.blocks}
            if own["seeds"].min() != 1 and np.isfinite(found.p_value):
                shared |= {"p_value": found.p_value, "critical_difference": found.critical_difference}
            for rank, method in sorted(zip(found.ranks, found.methods, strict=True)):
                rows.append({"teacher": teacher, "method": method, "rank": rank, **shared})
    return pl.DataFrame(rows, RANKS)


def best_on_validation(scores: pl.DataFrame, *by: str) -> pl.DataFrame:
    """The row with the best validation score for every combination of the columns ``by``, in the table's order."""
    ranked = scores.sort("valid_score", descending=True, maintain_order=True)
    best = ranked.unique(by, keep="first", maintain_order=True)
    return scores.select(by).unique(maintain_order=True).join(best, by, maintain_order="left")


def best_students(scores: pl.DataFrame) -> dict[str, str]:
    """The student with the best score on the validation split, by task."""
    return dict(best_on_validation(scores, "task").select("task", "student").iter_rows())


def references(tasks: Iterable[Estimates]) -> pl.DataFrame:
    """Scores of floors and teachers: one row a model, with its margin over the floor and 95 % intervals.

    The kind ``taught`` is n-grams fitted to the predictions of the teacher of the row's name, from which its students
    learn as well. Intervals are those of this one model; a teacher that left no predictions has none.
    """
    rows = []
    for estimates in tasks:
        task, floor = estimates.task, estimates.task.floor
        runs = [("floor", "", floor, estimates.floor)] if floor else []
        runs += [(TAUGHT, name, run, estimates.taught[name]) for name, run in task.taught.items()]
        runs += [("teacher", name, run, estimates.teachers.get(name)) for name, run in task.teachers.items()]
        for kind, name, run, score in runs:
            row: Row = {"task": task.name, "kind": kind, "name": name, "metric": task.metric}
            row |= {"parameters": run.metrics.get("parameters"), "score": task.score(run)}
            row |= estimated("score", score) if score else {}
            if floor and run is not floor:
                row["above_floor"] = task.score(run) - task.score(floor)
                row |= estimated("above_floor", score - estimates.floor) if score and estimates.floor else {}
            rows.append(row)
    return pl.DataFrame(rows, REFERENCES)


def tests(tasks: Iterable[Estimates]) -> pl.DataFrame:
    """Test splits: one row a task, with the numbers of examples, of groups such as packages, and of sampled units.

    ``groups`` is null where every example is a group of its own. ``unit`` is the kind of unit that is sampled.
    ``lacking`` names the classes that no example has.
    """
    rows = []
    for one in tasks:
        names, counts = np.unique(one.task.groups, return_counts=True)
        row: Row = {"task": one.task.name, "examples": len(one.task.labels)}
        if len(names) < len(one.task.labels):
            largest = int(counts.argmax())
            row |= {"groups": len(names), "largest_group": str(names[largest])}
            row |= {"largest_share": float(counts[largest] / counts.sum())}
        lacking = [name for label, name in enumerate(one.task.classes) if label not in one.task.labels]
        row |= {"unit": one.task.units.kind, "units": one.task.units.count, "lacking": ", ".join(lacking) or None}
        rows.append(row)
    return pl.DataFrame(rows, TESTS)


def as_students(references: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """The teachers' rows and ``columns`` in the form of the ``scores`` table: no student, method :data:`TEACHER`."""
    fixed = [pl.lit("").alias("student"), pl.lit(TEACHER).alias("method")]
    return references.filter(kind="teacher").select("task", *columns, pl.col("name").alias("teacher"), *fixed)


def types(tasks: Iterable[Estimates]) -> pl.DataFrame:
    """Recall and F1 by type of positive example, such as a clone type, of two-class tasks, as means over seeds.

    The F1 of a type is that of its positives among all negatives. Rows of the floor and of teachers have an empty
    ``student``. Tasks without types have no rows.
    """
    rows = []
    for estimates in tasks:
        task = estimates.task
        if task.types is None or len(task.classes) != 2:
            continue
        runs: list[tuple[str, str, str, Sequence[Run]]] = []
        for teacher, groups in estimates.panels:
            if task.floor:
                runs.append((teacher, "", "floor", [task.floor]))
            if teacher in estimates.teachers:
                runs.append((teacher, "", "teacher", [task.teachers[teacher]]))
            runs += [(teacher, *group[1:], [cell.run for cell in estimates.groups[group]]) for group in groups]
        for *names, sample in runs:
            rows += [dict(zip(NAMES, (task.name, *names), strict=True)) | row for row in _per_type(task, sample)]
    return pl.DataFrame(rows, TYPES)


def plain(group: Group) -> Group:
    """The group of plain fine-tuning of the same student as ``group``."""
    return NO_TEACHER, group[1], REFERENCE


def estimated(name: str, number: Estimate) -> Row:
    """An estimate's value and interval, if it has one, as a row's columns ``name``, ``name_low`` and ``name_high``.

    The interval of a score is cut at 0 and 1.
    """
    ends = number.interval()
    if ends is None:
        return {name: number.value}
    low, high = ends
    if name == "score":
        low, high = max(low, 0.0), min(high, 1.0)
    return {name: number.value, f"{name}_low": low, f"{name}_high": high}


def compared(number: Estimate, name: str = "difference", p_name: str = "p_value") -> Row:
    """A difference, its interval and the p-value of its being zero, as columns; one seed has no p-value."""
    return estimated(name, number) | {p_name: number.p_value()}


def with_corrected(rows: list[Row], p_name: str = "p_value", name: str = "p_corrected") -> list[Row]:
    """Add to rows their p-values ``p_name`` corrected for their number, as ``name``, and return the same rows."""
    given = [row for row in rows if row.get(p_name) is not None]
    for row, value in zip(given, corrected([row[p_name] for row in given]), strict=True):
        row[name] = value
    return rows


def _scores_row(estimates: Estimates, teacher: str, group: Group) -> Row:
    task, own, score = estimates.task, estimates.groups[group], estimates.students[group]
    parameters, valid_score = own[0].run.metrics["parameters"], _mean_of(task.score(cell.run, "valid") for cell in own)
    row: Row = {
        **dict(zip(NAMES, (task.name, teacher, *group[1:]), strict=True)),
        "metric": task.metric,
        "seeds": score.seeds,
        **estimated("score", score),
        "std": np.std(score.values, ddof=1) if score.seeds > 1 else None,
        "valid_score": valid_score,
        "seconds": _cost(own),
        "wall_seconds": _mean(own, "train_seconds"),
        "examples_seen": _mean(own, "examples_seen"),
        "joules": _mean(own, "joules"),
        "parameters": parameters,
    }
    if estimates.floor:
        row |= {"floor": estimates.floor.value}
        row |= compared(score - estimates.floor, "above_floor", "floor_p_value")
    if teacher in estimates.taught:
        row["taught_floor"] = estimates.taught[teacher].value
    if run := task.teachers.get(teacher):
        best, valid_best = task.score(run), task.score(run, "valid")
        row |= {"teacher_score": best, "share_of_teacher": parameters / run.metrics["parameters"]}
        row |= {"valid_retention": valid_score / valid_best} if valid_best else {}
        row |= estimated("retention", score / estimates.teachers.get(teacher, best)) if best else {}
    reference = plain(group)
    if plainly := estimates.groups.get(reference):
        if len({cell.run.clock for cell in (*own, *plainly)}) == 1:
            row["relative_seconds"] = _ratio(_cost(own), _cost(plainly))
            row["relative_seconds_per_example"] = _ratio(_cost_per_example(own), _cost_per_example(plainly))
        if group != reference:
            row |= compared(score - estimates.students[reference])
    return row


def _methods_row(estimates: Estimates, teacher: str, method: str, groups: Sequence[Group], scores: pl.DataFrame) -> Row:
    gain = mean([estimates.students[group] - estimates.students[plain(group)] for group in groups])
    sure = scores.filter(pl.col("p_corrected") < LEVEL)["difference"]
    return {
        "task": estimates.task.name,
        "teacher": teacher,
        "method": method,
        "students": len(groups),
        **compared(gain),
        "above": int((sure > 0).sum()) if gain.seeds > 1 else None,
        "below": int((sure < 0).sum()) if gain.seeds > 1 else None,
    }


def _per_type(task: Task, runs: Sequence[Run]) -> Iterable[Row]:
    assert task.types is not None
    predictions = np.stack([run.predictions for run in runs if run.predictions is not None])
    positive, negative = task.labels == 1, task.labels == 0
    for name in sorted(set(task.types[positive]) - {None}):
        of_type = positive & (task.types == name)
        among = of_type | negative
        yield {
            "type": name,
            "examples": int(of_type.sum()),
            "recall": float((predictions[:, of_type] == 1).mean()),
            "f1": float(f1_of_class(1, task.labels[among], predictions[:, among]).mean()),
        }


def _mean(group: Sequence[Cell], name: str) -> Any:
    """Mean of a metric over cells; None where a cell lacks it."""
    values: list[Any] = [cell.run.metrics.get(name) for cell in group]
    return None if None in values else float(np.mean(values))


def _mean_of(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _cost(group: Sequence[Cell]) -> float | None:
    costs = [cell.run.cost for cell in group]
    if len({cell.run.clock for cell in group}) > 1:
        return None
    return None if None in costs else float(np.mean([cost for cost in costs if cost is not None]))


def _cost_per_example(group: Sequence[Cell]) -> float | None:
    cost, seen = _cost(group), _mean(group, "examples_seen")
    return cost / seen if cost and seen else None


def _ratio(first: float | None, second: float | None) -> float | None:
    return first / second if first and second else None


def _split_scores(run: Run) -> Row:
    splits = run.metrics["scores"].items()
    return {f"{split}_{name}": score for split, scores in splits for name, score in scores.items()}
