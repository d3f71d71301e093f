"""Tables that compare methods with each other, teachers, architectures and training costs.

Comparisons of methods with plain fine-tuning are in :mod:`codekd.analysis.tables`.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations, product
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from codekd.analysis.estimates import Estimates, Group
from codekd.analysis.provenance import made_on
from codekd.analysis.results import NO_TEACHER
from codekd.analysis.tables import (
    NAMES,
    REFERENCE,
    Row,
    Schema,
    compared,
    estimated,
    numbers,
    plain,
    with_corrected,
    with_interval,
)
from codekd.analysis.variance import Estimate, mean

if TYPE_CHECKING:
    from codekd.study.job import Job

ALL = "all"
"""Name, in place of a method's, of the mean over all methods that distil: all but plain fine-tuning and controls."""

SAME_SIZE = 1.25
"""Largest ratio of the parameters of two students that count as equally large."""

PAIRS: Schema = {
    **dict.fromkeys(("task", "teacher", "method", "other"), pl.String),
    "students": pl.Int64,
    **with_interval("difference"),
    **numbers("p_value", "p_corrected"),
}
TEACHERS: Schema = {
    **dict.fromkeys(("task", "method", "teacher", "other"), pl.String),
    "students": pl.Int64,
    **numbers("teacher_score", "other_score"),
    **with_interval("difference"),
}
ARCHITECTURES: Schema = {
    **dict.fromkeys(("task", "teacher", "method", "student", "other"), pl.String),
    "parameters": pl.Int64,
    **with_interval("difference"),
    **numbers("p_value", "p_corrected"),
    **with_interval("gain"),
    **numbers("gain_p_value", "gain_p_corrected"),
}


def pairs(tasks: Iterable[Estimates]) -> pl.DataFrame:
    """Differences between methods: one row per task, teacher and pair of methods other than plain fine-tuning.

    ``difference`` is the score of ``method`` minus that of ``other``, the mean over the students that have both.
    P-values are corrected for their number within a task and teacher.
    """
    rows: list[Row] = []
    for task in tasks:
        for teacher, groups in task.panels:
            own: list[Row] = []
            by_method: dict[str, dict[str, Group]] = {}
            for group in groups:
                if group[2] != REFERENCE:
                    by_method.setdefault(group[2], {})[group[1]] = group
            for (method, first), (other, second) in combinations(by_method.items(), 2):
                if both := [(first[student], second[student]) for student in first if student in second]:
                    own.append(
                        {"task": task.task.name, "teacher": teacher, "method": method, "other": other}
                        | {"students": len(both)}
                        | compared(_mean_difference(task, both))
                    )
            rows += with_corrected(own)
    return pl.DataFrame(rows, PAIRS)


def teachers(tasks: Iterable[Estimates], controls: Collection[str] = ()) -> pl.DataFrame:
    """Differences between teachers: one row per task, method and pair of teachers.

    ``difference`` is the score of students of ``teacher`` minus that of the same students of ``other``, on average. The
    method :data:`ALL` is the mean over the methods that distil. Every teacher is trained once, so that differences are
    those of these trained teachers and have no p-values.

    Args:
        tasks: the study's tasks.
        controls: methods that do not count as ways to distil.
    """
    rows: list[Row] = []
    for task in tasks:
        names = [name for name, _ in task.panels if name in task.task.teachers]
        for first, second in combinations(names, 2):
            pairs = [(one, (second, *one[1:])) for one in task.groups if one[0] == first]
            pairs = [pair for pair in pairs if pair[1] in task.groups]
            for method in (ALL, *dict.fromkeys(pair[0][2] for pair in pairs)):
                chosen = [pair for pair in pairs if _counts(pair[0][2], method, controls)]
                if chosen:
                    rows.append(
                        {"task": task.task.name, "method": method, "teacher": first, "other": second}
                        | {"students": len({one[1] for one, _ in chosen})}
                        | {"teacher_score": task.task.score(task.task.teachers[first])}
                        | {"other_score": task.task.score(task.task.teachers[second])}
                        | estimated("difference", _mean_difference(task, chosen))
                    )
    return pl.DataFrame(rows, TEACHERS)


def architectures(
    tasks: Iterable[Estimates], recurrent: Mapping[str, bool | None], controls: Collection[str] = ()
) -> pl.DataFrame:
    """Differences between architectures: one row per task, teacher, method and pair of equally large students.

    ``student`` is a transformer, like its teacher, and ``other`` a recurrent network. ``difference`` is the score of
    the first minus that of the second, and ``gain`` the difference of what both gain from the method over plain
    fine-tuning. P-values are corrected for their number within a task and teacher.

    Args:
        tasks: the study's tasks.
        recurrent: whether a student is recurrent, by its name; None for one that is neither kind.
        controls: methods that do not count as ways to distil.
    """
    rows: list[Row] = []
    for task in tasks:
        for teacher, groups in task.panels:
            own: list[Row] = []
            for (student, other), pairs in _equally_large(task, groups, recurrent).items():
                for method in (ALL, *dict.fromkeys(first[2] for first, _ in pairs)):
                    chosen = [pair for pair in pairs if _counts(pair[0][2], method, controls)]
                    if not chosen:
                        continue
                    difference = _mean_difference(task, chosen)
                    row: Row = {"task": task.task.name, "teacher": teacher, "method": method, "student": student}
                    row |= {"other": other, "parameters": _parameters(task, chosen[0][0])}
                    own.append(row | compared(difference))
                    plainly = [(plain(first), plain(second)) for first, second in chosen]
                    if method != REFERENCE and all(one in task.groups for pair in plainly for one in pair):
                        gain = difference - _mean_difference(task, plainly)
                        own[-1] |= compared(gain, "gain", "gain_p_value")
            rows += with_corrected(with_corrected(own), "gain_p_value", "gain_p_corrected")
    return pl.DataFrame(rows, ARCHITECTURES)


def costs(scores: pl.DataFrame, tasks: Sequence[Estimates], job: "Job") -> pl.DataFrame:
    """Training costs of every student, beside an estimate of what they would be with the teacher in every step.

    ``seconds`` are those of training; ``relative`` and ``per_example`` are multiples of plain fine-tuning's, in total
    and per example seen. ``online_seconds`` adds to ``seconds`` those in which the teacher reads as many examples, as
    estimated from its capture. ``joules`` is the energy that the whole machine used meanwhile. Paid once are
    ``teacher_seconds`` and ``capture_seconds``, for an ensemble those of its members, and ``start_seconds``, those of a
    student's start and of the capture for it.

    Args:
        scores: the report's table of the same name.
        tasks: the study's tasks.
        job: the report's job, whose parents are the folders of captures and starts.
    """
    paid, started = [], []
    for task in tasks:
        for teacher, run in task.task.teachers.items():
            role = f"signals/{task.task.name}/{teacher}/logits"
            folders = [folder for one, folder in job.parents.items() if f"{one}/".startswith(f"{role}/")]
            clocks = {cell.run.clock for cell in task.task.cells if cell.teacher == teacher}
            captures = [_captured(folder, clocks) for folder in folders]
            seconds, per_example = (
                (_total(column) for column in zip(*captures, strict=True)) if captures else (None, None)
            )
            paid.append((task.task.name, teacher, run.cost, seconds, per_example))
        clocks = {cell.run.clock for cell in task.task.cells}
        for student in dict.fromkeys(cell.student for cell in task.task.cells):
            started.append((task.task.name, student, _started(job, task.task.name, student, clocks)))
    names: Schema = dict.fromkeys(("task", "teacher"), pl.String)
    once = pl.DataFrame(paid, names | numbers("teacher_seconds", "capture_seconds", "read"), orient="row")
    students: Schema = dict.fromkeys(("task", "student"), pl.String)
    begun = pl.DataFrame(started, students | numbers("start_seconds"), orient="row")
    plainly = scores.filter(method=REFERENCE).select("task", "teacher", "student", plain_joules="joules")
    without = {method for task in tasks for teacher, _, method in task.groups if teacher == NO_TEACHER}
    distils = ~pl.col("method").is_in(sorted(without))
    found = scores.join(once, ["task", "teacher"], "left", maintain_order="left").join(
        plainly, ["task", "teacher", "student"], "left", maintain_order="left"
    )
    found = found.join(begun, ["task", "student"], "left", maintain_order="left")
    return found.select(
        *NAMES,
        "parameters",
        "share_of_teacher",
        "seconds",
        relative="relative_seconds",
        per_example="relative_seconds_per_example",
        online_seconds=pl.when(distils).then(pl.col("seconds") + pl.col("examples_seen") * pl.col("read")),
        joules="joules",
        relative_joules=pl.col("joules") / pl.col("plain_joules"),
        teacher_seconds="teacher_seconds",
        capture_seconds="capture_seconds",
        start_seconds="start_seconds",
    ).with_columns(online_relative=pl.col("online_seconds") * pl.col("relative") / pl.col("seconds"))


def _mean_difference(task: Estimates, pairs: Sequence[tuple[Group, Group]]) -> Estimate:
    """Mean difference of the scores of pairs of groups, the first minus the second."""
    return mean([task.students[first] - task.students[second] for first, second in pairs])


def _counts(method: str, asked: str, controls: Collection[str]) -> bool:
    return method == asked or (asked == ALL and method not in (REFERENCE, *controls))


def _equally_large(
    task: Estimates, groups: Sequence[Group], recurrent: Mapping[str, bool | None]
) -> dict[tuple[str, str], list[tuple[Group, Group]]]:
    """Pairs of groups of the same method, by (transformer, recurrent student) of about the same size."""
    found: dict[tuple[str, str], list[tuple[Group, Group]]] = {}
    for first, second in product(groups, groups):
        sizes = _parameters(task, first), _parameters(task, second)
        families = recurrent[first[1]], recurrent[second[1]]  # None: neither a transformer nor recurrent
        if families != (False, True) or max(sizes) > SAME_SIZE * min(sizes):
            continue
        if first[2] == second[2]:
            found.setdefault((first[1], second[1]), []).append((first, second))
    return found


def _parameters(task: Estimates, group: Group) -> int:
    return task.groups[group][0].run.metrics["parameters"]


def _total(numbers: Iterable[float | None]) -> float | None:
    """Sum of some numbers; None if one of them is None."""
    known = list(numbers)
    return None if None in known else sum(one for one in known if one is not None)


def _started(job: "Job", task: str, student: str, clocks: set[tuple[str, str]]) -> float | None:
    """Seconds of a student's start and of the capture for it; None where the student begins at random."""
    place = f"starts/{task}/{student}"
    folders = [folder for role, folder in job.parents.items() if role == place or role.startswith(f"{place}/")]
    return _total(_seconds(folder, clocks) for folder in folders) if folders else None


def _seconds(folder: Path, clocks: set[tuple[str, str]]) -> float | None:
    """Seconds that a node took: CPU time, or wall time on a GPU.

    None where they were counted on another device or processor than the students' own, which are in ``clocks``.
    """
    made = made_on(folder)
    if clocks != {made.clock}:
        return None
    seconds: float = json.loads((folder / "manifest.json").read_text())["seconds" if made.on_gpu else "cpu_seconds"]
    return seconds


def _captured(folder: Path, clocks: set[tuple[str, str]]) -> tuple[float, float] | tuple[None, None]:
    """Seconds of a capture, in total and per example; None for both where :func:`_seconds` is None."""
    seconds = _seconds(folder, clocks)
    if seconds is None:
        return None, None
    return seconds, seconds / pl.scan_parquet(folder / "*.parquet").select(pl.len()).collect().item()
