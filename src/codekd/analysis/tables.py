"""The tables of a report, as polars frames.

A method that needs no teacher is listed under every teacher of its task: there it is what the others are
compared with, and its retention is relative to that teacher. All scores are shares in [0, 1].
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
"""The kind of a reference: n-grams that a teacher taught."""

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
    """One row a trained student, with every score that it has on each split and what it is on test above the floor."""
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
    """One row per task, teacher, student and method: means over seeds with 95 % intervals.

    ``difference`` is to plain fine-tuning of the same student, and ``above_floor`` to n-grams, with the p-values of
    their being zero, as they are and corrected for the number of such differences of the task and teacher.
    ``valid_retention`` is the share of the teacher's score on the validation split. ``seconds`` of training are those
    of the CPU, or of the clock on a GPU, and ``relative_seconds`` their ratio to plain fine-tuning, in total and per
    example seen. ``taught_floor`` is the score of n-grams that the teacher taught. Null: no teacher, no plain
    fine-tuning, no floor, for ``std`` and p-values one seed, for ratios of
    seconds other devices or processors.
    """
    rows: list[Row] = []
    for task in tasks:
        for teacher, groups in task.panels:
            own = [_scores_row(task, teacher, group) for group in groups]
            rows += with_corrected(with_corrected(own), "floor_p_value", "floor_p_corrected")
    return pl.DataFrame(rows, SCORES)


def methods(tasks: Iterable[Estimates], scores: pl.DataFrame, controls: Collection[str] = ()) -> pl.DataFrame:
    """One row per task, teacher and method: its mean difference to plain fine-tuning over :func:`comparable` students.

    A method that these lack has that over the students that have it. ``above`` and ``below`` count the students whose
    own difference in ``scores`` is distinguishable from zero, with its correction for their number; null where there is
    one seed.
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
    """The rows of students on which methods may be compared: of a task and teacher those with most methods.

    ``controls`` do not count. Means over other students would compare these, and not the methods.
    """
    counts = scores.group_by("task", "teacher", "student").agg(
        methods=pl.col("method").filter(~pl.col("method").is_in([*controls])).n_unique()
    )
    most = counts.filter(pl.col("methods") == pl.col("methods").max().over("task", "teacher"))
    return scores.join(most, ["task", "teacher", "student"], "semi", maintain_order="left")


def ranks(scores: pl.DataFrame, controls: Collection[str] = ()) -> pl.DataFrame:
    """Average ranks of the methods of a teacher over the tasks, the best first.

    A task is one block: its students are trained on the same examples and tell no more than one of them whether a
    method is better on other tasks. A method's score in a task is its mean over :func:`comparable` students, and a
    method has a rank that all of these have.
    With the p-value of the Friedman test of the ranks being equal, and the difference that two of them need to be
    distinguishable at the level of 5 %; without both where there is one seed. A teacher with fewer than three methods
    or two tasks has no ranks.
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
    """For every combination of ``by``, in the table's order, the row with the best score on the validation split."""
    ranked = scores.sort("valid_score", descending=True, maintain_order=True)
    best = ranked.unique(by, keep="first", maintain_order=True)
    return scores.select(by).unique(maintain_order=True).join(best, by, maintain_order="left")


def best_students(scores: pl.DataFrame) -> dict[str, str]:
    """Of every task the student with the best score on the validation split."""
    return dict(best_on_validation(scores, "task").select("task", "student").iter_rows())


def references(tasks: Iterable[Estimates]) -> pl.DataFrame:
    """One row per floor and teacher: its score and how far it is above the floor, with 95 % intervals.

    The kind ``taught`` are n-grams that learned from the teacher of the row's name, as its students do. The intervals
    are those of the one model; a teacher that left no predictions has none.
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
    """One row a task: how many examples and groups, such as packages, its test split has, and what is sampled of it.

    Examples that each are a group of their own have none. ``lacking`` names the classes that no example has.
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
    """The teachers in the form of students' scores: without a student, :data:`TEACHER` in the place of a method."""
    fixed = [pl.lit("").alias("student"), pl.lit(TEACHER).alias("method")]
    return references.filter(kind="teacher").select("task", *columns, pl.col("name").alias("teacher"), *fixed)


def types(tasks: Iterable[Estimates]) -> pl.DataFrame:
    """Recall and F1 per type of positive example, where a two-class task tells types apart; means over seeds.

    The F1 of a type is that of its positives among all negatives. The floor's and the teachers' rows have no
    student.
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
    """Plain fine-tuning of the same student."""
    return NO_TEACHER, group[1], REFERENCE


def estimated(name: str, number: Estimate) -> Row:
    """A number and its interval, if there is one; that of a score ends at 0 and 1."""
    ends = number.interval()
    if ends is None:
        return {name: number.value}
    low, high = ends
    if name == "score":
        low, high = max(low, 0.0), min(high, 1.0)
    return {name: number.value, f"{name}_low": low, f"{name}_high": high}


def compared(number: Estimate, name: str = "difference", p_name: str = "p_value") -> Row:
    """A difference, its interval, and the p-value of its being zero; one of a single seed has none."""
    return estimated(name, number) | {p_name: number.p_value()}


def with_corrected(rows: list[Row], p_name: str = "p_value", name: str = "p_corrected") -> list[Row]:
    """Rows with their p-values corrected for how many they are."""
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
    """Of a metric, None where not all have it."""
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
