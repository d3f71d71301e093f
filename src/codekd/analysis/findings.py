"""Sentences of a report that its tables justify, with intervals, and sentences about what the study cannot say.

Frames among the arguments are the report's tables of the same names, ``table`` that of the function's name.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from codekd.analysis.estimates import Estimates
from codekd.analysis.numbers import metric_name, p, percent, points, size
from codekd.analysis.questions import ALL
from codekd.analysis.results import Task
from codekd.analysis.significance import LEVEL
from codekd.analysis.tables import REFERENCE, best_on_validation, comparable

Row = dict[str, Any]
NOT_DISTINGUISHABLE = ", which is not distinguishable at this size"
ONE_SEED = " (one seed)"


def summary(tasks: Sequence[Task]) -> str:
    """One sentence about the grid of a study: the names on each of its axes and the number of training runs."""
    cells = [cell for task in tasks for cell in task.cells]
    teachers = dict.fromkeys(name for task in tasks for name in task.teachers)
    parts = [
        _listed("task", [task.name for task in tasks]),
        _listed("teacher", teachers),
        _listed("student", dict.fromkeys(cell.student for cell in cells)),
        _listed("method", dict.fromkeys(cell.method for cell in cells)),
        _listed("seed", map(str, sorted({cell.seed for cell in cells}))),
    ]
    return f"{', '.join(parts[:-1])} and {parts[-1]}: {_count(len(cells), 'training run')} of students."


def above_floors(references: pl.DataFrame) -> list[str]:
    """Sentences about teachers: each one's score, and its margin over n-grams, which is what there is to distil."""
    sentences = []
    for _, rows in references.group_by("task", maintain_order=True):
        floor = rows.filter(kind="floor")["score"].to_list()
        each = rows.filter(kind="teacher").iter_rows(named=True)
        sentences += [_teacher(row, floor[0] if floor else None) for row in each]
    return sentences


def headlines(methods: pl.DataFrame, scores: pl.DataFrame) -> list[str]:
    """Sentences about methods: which are better or worse than plain fine-tuning, on average over students.

    There is one sentence a task and teacher. A method whose mean is not over all students of the task is given with
    the number of students that it is over.
    """
    titles = (
        f"better than {REFERENCE}:",
        f"worse than {REFERENCE}:",
        f"not distinguishable from {REFERENCE} at this size:",
        f"against {REFERENCE}, of one seed and so neither better nor worse:",
    )
    several = methods["teacher"].n_unique() > 1
    sentences = []
    for (task, teacher), rows in methods.group_by("task", "teacher", maintain_order=True):
        students = scores.filter(task=task, teacher=teacher)["student"].n_unique()
        named = [
            row | {"method": f"{row['method']} over {row['students']} of {students} students"}
            if row["students"] < students
            else row
            for row in rows.iter_rows(named=True)
        ]
        sentences.append(f"{place(task, teacher, several=several)}: {_sides(named, titles)}.")
    return sentences


def best_methods(pairs: pl.DataFrame, scores: pl.DataFrame, controls: Collection[str] = ()) -> list[str]:
    """Sentences about the best method of every task and teacher, compared with the others except plain fine-tuning.

    The best method has the highest mean score on the validation split over
    :func:`codekd.analysis.tables.comparable` students.

    Args:
        controls: methods that do not count as ways to distil.
    """
    titles = (
        "better than",
        "worse than",
        "not distinguishable at this size from",
        "of one seed and so neither better nor worse than",
    )
    several = pairs["teacher"].n_unique() > 1
    sentences = []
    compared = comparable(scores, controls)
    for (task, teacher), rows in pairs.group_by("task", "teacher", maintain_order=True):
        shared = compared.filter(pl.col("method").is_in({*rows["method"], *rows["other"]}), task=task, teacher=teacher)
        means = shared.group_by("task", "method", maintain_order=True).agg(pl.col("valid_score").mean())
        best = best_on_validation(means, "task")["method"][0]
        others = (_as_seen_by(best, row) for row in rows.iter_rows(named=True) if best in (row["method"], row["other"]))
        sentences.append(
            f"{place(task, teacher, several=several)}: {best}, of these methods the best on the validation split, is "
            f"{_sides(others, titles)}."
        )
    return sentences


def best_students(scores: pl.DataFrame) -> list[str]:
    """Sentences about the best student of every task and teacher: its retention, or its score without a teacher.

    The student is chosen on the validation split, because the test score of a choice on test would be too high.
    """
    several = scores["task"].n_unique() > 1
    sentences = []
    for row in best_on_validation(scores, "task", "teacher").iter_rows(named=True):
        text = _best(row) if row["retention"] is None else _retention(row)
        sentences.append(f"{row['task']}: {text[0].lower()}{text[1:]}" if several else text)
    return sentences


def teachers(table: pl.DataFrame) -> list[str]:
    """Sentences about pairs of teachers: the mean difference of their students' scores, over all methods."""
    return [
        f"{row['task']}: students of {row['teacher']} are {estimate(row, 'difference', points)} points against those "
        f"of {row['other']}, on average over methods and {_count(row['students'], 'student')}: of these two teachers "
        f"as they are. They themselves reach {percent(row['teacher_score'])} and "
        f"{percent(row['other_score'])} %."
        for row in table.filter(method=ALL).iter_rows(named=True)
    ]


def architectures(table: pl.DataFrame) -> list[str]:
    """Sentences about transformers against recurrent students of their size: which is better, and which gains more."""
    sentences = []
    for row in table.filter(method=ALL).iter_rows(named=True):
        text = (
            f"{row['task']}: distilled from {row['teacher']}, {row['student']} (a transformer, as it is) is "
            f"{estimate(row, 'difference', points)} points against {row['other']} (recurrent){_doubt(row)}"
        )
        if row["gain"] is not None:
            doubt = _doubt(row, "gain_p_corrected")
            text += (
                f"; from distillation it gains {estimate(row, 'gain', points)} points against that one's gain{doubt}"
            )
        sentences.append(f"{text}.")
    return sentences


def friedman(ranks: pl.DataFrame) -> str:
    """P-value of the Friedman test that all methods rank equally, as text to follow the name of the test."""
    each = ranks.unique("teacher", keep="first", maintain_order=True).select("teacher", "p_value").rows()
    told = [p(value) + (f" with {teacher}" if len(each) > 1 else "") for teacher, value in each if value is not None]
    return f": p = {', '.join(told)}" if told else ""


def unlearned(table: pl.DataFrame, examples: Mapping[str, int]) -> list[str]:
    """Sentences about test examples that no student of a task and teacher classifies rightly.

    Each says how many there are, on how many of them the teacher is right, and which class is the commonest.

    Args:
        examples: number of test examples, by task.
    """
    sentences = []
    for (task, teacher), rows in table.group_by("task", "teacher", maintain_order=True):
        known, total = rows["teacher_is_right"].drop_nulls(), examples[str(task)]
        most, count = rows["label"].value_counts(sort=True).row(0)
        with_teacher = f"; {teacher} is right on {int(known.sum())} of them" if len(known) else ""
        sentences.append(
            f"{task}: {len(rows):,} of {total:,} test examples ({percent(len(rows) / total)} %){with_teacher}. "
            f"The commonest class of them is {most} ({count:,})."
        )
    return sentences


def limits(tasks: Iterable[Estimates]) -> list[str]:
    """Sentences about parts that a study lacks (floor, teacher, methods) and what it therefore cannot say."""
    sentences = []
    for estimates in tasks:
        task, methods = estimates.task, {method for _, _, method in estimates.groups}
        if task.floor is None:
            sentences.append(f"{task.name}: no floor, so what the teacher adds over n-grams is unknown.")
        if not task.teachers:
            sentences.append(f"{task.name}: no teacher, so there is no retention.")
        for teacher in (name for name in task.teachers if name not in estimates.teachers):
            sentences.append(
                f"{task.name}: the teacher {teacher} left no predictions, so its score has no interval and "
                "intervals of retention take it as exact."
            )
        if REFERENCE not in methods:
            sentences.append(
                f"{task.name}: no plain fine-tuning ({REFERENCE}), so there are neither gains of methods "
                "nor relative training times."
            )
        elif methods == {REFERENCE}:
            sentences.append(f"{task.name}: no method beside {REFERENCE}, so there is nothing to compare.")
    return sentences


def place(task: object, teacher: object, *, several: bool) -> str:
    """Subject of a sentence: the task, and the teacher where there are ``several``."""
    return f"{task}, teacher {teacher}" if several else str(task)


def _sides(rows: Iterable[Row], titles: tuple[str, str, str, str]) -> str:
    """Methods under four titles: difference above zero, below zero, not distinguishable from zero, and one seed."""
    sides: dict[str, list[str]] = {title: [] for title in titles}
    for row in sorted(rows, key=lambda row: -row["difference"]):
        told = f"{row['method']} ({estimate(row, 'difference', points)} points)"
        if row["p_corrected"] is None:
            sides[titles[3]].append(told)
        elif distinguishable(row):
            sides[titles[row["difference"] < 0]].append(told)
        else:
            sides[titles[2]].append(row["method"])
    return "; ".join(f"{title} {', '.join(names)}" for title, names in sides.items() if names)


def _as_seen_by(best: str, pair: Row) -> Row:
    """The row of a pair with the best method first: the name of the other one, and the best one's lead over it."""
    if pair["method"] == best:
        return pair | {"method": pair["other"]}
    turned = {"difference": "difference", "difference_low": "difference_high", "difference_high": "difference_low"}
    return pair | {name: -pair[source] for name, source in turned.items()}


def _teacher(row: Row, floor: float | None) -> str:
    metric = metric_name(row["metric"])
    text = f"{row['task']}: the teacher {row['name']} reaches {estimate(row, 'score', percent)} % {metric}"
    if floor is None:
        return f"{text}."
    return f"{text}, {estimate(row, 'above_floor', points)} points against the n-gram floor of {percent(floor)} %."


def _retention(row: Row) -> str:
    return (
        f"The best student on the validation split, {row['student']} trained with {row['method']}, keeps "
        f"{estimate(row, 'retention', percent)} % of the score of {row['teacher']} with "
        f"{percent(row['share_of_teacher'])} % of the parameters ({size(row['parameters'])})."
    )


def _best(row: Row) -> str:
    metric = metric_name(row["metric"])
    reached = f"{estimate(row, 'score', percent)} % {metric}"
    return (
        f"The best student on the validation split, {row['student']} trained with {row['method']}, reaches {reached}."
    )


def estimate(row: Row, name: str, write: Callable[[float], str]) -> str:
    """A number of a table's row with its interval, such as ``57.4 [55.1, 59.6]``.

    Args:
        row: a row with the columns ``name``, ``name_low`` and ``name_high``.
        name: the number's column.
        write: formatter of a number.

    Returns:
        The text, without brackets where there is no interval; a dash where there is no number.
    """
    value, low, high = row[name], row[f"{name}_low"], row[f"{name}_high"]
    if value is None:
        return "–"
    return write(value) if low is None else f"{write(value)} [{write(low)}, {write(high)}]"


def distinguishable(row: Row, p_name: str = "p_corrected") -> bool:
    """Whether a row's difference is significant at 5 %, by its p-value corrected for the number of differences."""
    return row[p_name] is not None and row[p_name] < LEVEL


def _doubt(row: Row, p_name: str = "p_corrected") -> str:
    if row[p_name] is None:
        return ONE_SEED
    return "" if distinguishable(row, p_name) else NOT_DISTINGUISHABLE


def _listed(noun: str, names: Iterable[str]) -> str:
    names = list(names)
    return f"{_count(len(names), noun)} ({', '.join(names)})" if names else f"no {noun}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
