"""The study's questions that compare methods with each other, teachers, architectures and costs, as tables.

What methods are worth against plain fine-tuning is in ``tables``.
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
"""In the place of a method: the mean over all that distil; plain fine-tuning does not, nor do controls."""

SAME_SIZE = 1.25
"""Up to this ratio of their parameters, students count as equally large."""

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
    """One row per task, teacher and pair of methods beside plain fine-tuning: how much better the first one is.

    It is the mean over the students that have both. P-values are corrected for their number within a task and teacher.
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
    """One row per task, method and pair of teachers: how much better the students of the first are, on average.

    The method ``all`` is the mean over the methods. Every teacher was trained once, so that the differences are those
    of these trained teachers and have no p-values.
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
    """One row per task, teacher, method and pair of equally large students, of which the first is a transformer.

    Teachers are transformers: the first is built like its teacher, and the other, a recurrent network, is not.
    ``difference`` is how much better the first is, and ``gain`` how much more it gains from the method over plain
    fine-tuning. P-values are corrected for their number within a task and teacher.
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
    """What it took to train every student, beside what it would take with the teacher in every step.

    ``relative`` and ``per_example`` are multiples of plain fine-tuning's seconds, in total and per example seen;
    ``online_seconds`` adds to the seconds of training those in which the capture's teacher reads as many examples, an
    estimate. ``joules`` are all that the machine used meanwhile. The teacher's own training and capture are paid once;
    those of an ensemble are its members'. ``start_seconds``, those of a student's start and of the capture for it, are
    paid once too.
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
    """How much better the first of the pairs are on average."""
    return mean([task.students[first] - task.students[second] for first, second in pairs])


def _counts(method: str, asked: str, controls: Collection[str]) -> bool:
    return method == asked or (asked == ALL and method not in (REFERENCE, *controls))


def _equally_large(
    task: Estimates, groups: Sequence[Group], recurrent: Mapping[str, bool | None]
) -> dict[tuple[str, str], list[tuple[Group, Group]]]:
    """Transformers beside recurrent networks of their size that were trained with the same methods."""
    found: dict[tuple[str, str], list[tuple[Group, Group]]] = {}
    for first, second in product(groups, groups):
        sizes = _parameters(task, first), _parameters(task, second)
        families = recurrent[first[1]], recurrent[second[1]]  # None is neither
        if families != (False, True) or max(sizes) > SAME_SIZE * min(sizes):
            continue
        if first[2] == second[2]:
            found.setdefault((first[1], second[1]), []).append((first, second))
    return found


def _parameters(task: Estimates, group: Group) -> int:
    return task.groups[group][0].run.metrics["parameters"]


def _total(numbers: Iterable[float | None]) -> float | None:
    """The sum of some numbers, if all are known."""
    known = list(numbers)
    return None if None in known else sum(one for one in known if one is not None)


def _started(job: "Job", task: str, student: str, clocks: set[tuple[str, str]]) -> float | None:
    """Seconds of what a student begins from and of what was captured for it; None where it begins at random."""
    place = f"starts/{task}/{student}"
    folders = [folder for role, folder in job.parents.items() if role == place or role.startswith(f"{place}/")]
    return _total(_seconds(folder, clocks) for folder in folders) if folders else None


def _seconds(folder: Path, clocks: set[tuple[str, str]]) -> float | None:
    """Seconds of a node in which a model ran, of the CPU or of the clock on a GPU.

    None where they were counted on something else than the students' own, ``clocks``.
    """
    made = made_on(folder)
    if clocks != {made.clock}:
        return None
    seconds: float = json.loads((folder / "manifest.json").read_text())["seconds" if made.on_gpu else "cpu_seconds"]
    return seconds


def _captured(folder: Path, clocks: set[tuple[str, str]]) -> tuple[float, float] | tuple[None, None]:
    """Seconds of a capture in all and per example, where :func:`_seconds` knows them."""
    seconds = _seconds(folder, clocks)
    if seconds is None:
        return None, None
    return seconds, seconds / pl.scan_parquet(folder / "*.parquet").select(pl.len()).collect().item()
