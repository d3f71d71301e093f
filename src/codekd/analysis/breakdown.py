"""Tables that break scores down: fidelity to the teacher, calibration, classes, lengths, and unlearned examples."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np
import polars as pl

from codekd.analysis.behaviour import Likeness, brier, calibration_error, likeness, reliability
from codekd.analysis.estimates import Estimates, Group
from codekd.analysis.jackknife import f1_of_class
from codekd.analysis.results import Run, Task
from codekd.analysis.tables import NAMED, NAMES, TEACHER, Row, Schema, numbers, plain

LENGTHS = 4

BEHAVIOUR: Schema = {
    **NAMED,
    **numbers(*(field.name for field in fields(Likeness)), "calibration_error", "brier"),
    **numbers("disputed", "disputed_score", "disputed_plain", "disputed_teacher"),
}
RELIABILITY: Schema = {**NAMED, **numbers("edge", "confidence", "accuracy", "share")}
CLASSES: Schema = {**NAMED, "class": pl.String, "examples": pl.Int64, **numbers("recall", "f1")}
LENGTHS_OF_CODE: Schema = {
    **NAMED,
    **dict.fromkeys(("from_characters", "to_characters", "examples"), pl.Int64),
    **numbers("accuracy"),
}
UNLEARNED: Schema = {
    **dict.fromkeys(("task", "teacher", "id", "label"), pl.String),
    "teacher_is_right": pl.Boolean,
}


def behaviour(tasks: Iterable[Estimates]) -> pl.DataFrame:
    """Fidelity and calibration of every model: one row per task, teacher, student and method, as means over seeds.

    The row of a teacher itself has an empty ``student``. ``disputed`` is the share of the test examples on which the
    predictions of the teacher and of plain fine-tuning of the same student and seed differ; ``disputed_score``,
    ``disputed_plain`` and ``disputed_teacher`` are the accuracies of the method, plain fine-tuning and the teacher on
    these examples.
    """
    rows = []
    for task in tasks:
        for teacher, groups in task.panels:
            run = task.task.teachers.get(teacher)
            of_teacher = run.log_probabilities if run else None
            if run and of_teacher is not None:
                rows.append(_named(task, teacher, ("", TEACHER)) | _calibration(task.task, [run]))
            for group in groups:
                runs = [cell.run for cell in task.groups[group]]
                row = _named(task, teacher, group[1:]) | _calibration(task.task, runs)
                if run and of_teacher is not None:
                    row |= _mean(asdict(likeness(one, of_teacher)) for one in _log_probabilities(runs))
                    row |= _mean(_disputed(task, group, run))
                rows.append(row)
    return pl.DataFrame(rows, BEHAVIOUR)


def reliabilities(tasks: Iterable[Estimates]) -> pl.DataFrame:
    """Reliability diagrams: one row per model and bin of confidence, with the examples of all seeds pooled."""
    rows = []
    for task in tasks:
        for teacher, names, runs in _runs(task):
            of_seeds = _log_probabilities(runs)
            if not of_seeds:
                continue
            labels = np.tile(task.task.labels, len(of_seeds))
            for values in zip(*reliability(np.concatenate(of_seeds), labels), strict=True):
                bin_ = dict(zip(("edge", "confidence", "accuracy", "share"), values, strict=True))
                rows.append(_named(task, teacher, names) | bin_)
    return pl.DataFrame(rows, RELIABILITY)


def classes(tasks: Iterable[Estimates]) -> pl.DataFrame:
    """Recall and F1 of every model in every class of the test split, as means over seeds."""
    rows = []
    for task in tasks:
        for teacher, names, runs in _runs(task):
            predictions = _predictions(runs)
            for label, name in enumerate(task.task.classes):
                of_class = task.task.labels == label
                if of_class.any():
                    row = {"class": name, "examples": int(of_class.sum())}
                    row |= {"recall": float((predictions[:, of_class] == label).mean())}
                    row |= {"f1": float(f1_of_class(label, task.task.labels, predictions).mean())}
                    rows.append(_named(task, teacher, names) | row)
    return pl.DataFrame(rows, CLASSES)


def lengths(tasks: Iterable[Estimates]) -> pl.DataFrame:
    """Accuracy of every model in quarters of the test examples by characters of code, as means over seeds."""
    rows = []
    for task in tasks:
        characters = task.task.characters
        if characters is None:
            continue
        edges = np.unique(np.quantile(characters, np.linspace(0, 1, LENGTHS + 1)).astype(int))
        place = np.clip(np.searchsorted(edges, characters, side="right") - 1, 0, max(len(edges) - 2, 0))
        for teacher, names, runs in _runs(task):
            right = _predictions(runs) == task.task.labels
            for number in np.unique(place):
                inside = place == number
                row: Row = {
                    "from_characters": int(characters[inside].min()),
                    "to_characters": int(characters[inside].max()),
                }
                row |= {"examples": int(inside.sum()), "accuracy": float(right[:, inside].mean())}
                rows.append(_named(task, teacher, names) | row)
    return pl.DataFrame(rows, LENGTHS_OF_CODE)


def unlearned(tasks: Iterable[Estimates]) -> pl.DataFrame:
    """Test examples that every student of a task and teacher misclassifies, whatever its method and seed."""
    rows = []
    for task in tasks:
        for teacher, groups in task.panels:
            runs = [cell.run for group in groups for cell in task.groups[group]]
            never = ~(_predictions(runs) == task.task.labels).any(axis=0)
            run = task.task.teachers.get(teacher)
            knows = None if run is None or run.predictions is None else run.predictions == task.task.labels
            for place in np.flatnonzero(never):
                row = {"task": task.task.name, "teacher": teacher, "id": task.task.ids[place]}
                row |= {"label": task.task.classes[task.task.labels[place]]}
                rows.append(row | {"teacher_is_right": None if knows is None else bool(knows[place])})
    return pl.DataFrame(rows, UNLEARNED)


def _runs(task: Estimates) -> Iterator[tuple[str, tuple[str, str], Sequence[Run]]]:
    """Models by teacher, each teacher's own first: the teacher, (student, method), and the runs of all seeds."""
    for teacher, groups in task.panels:
        run = task.task.teachers.get(teacher)
        if run and run.predictions is not None:
            yield teacher, ("", TEACHER), [run]
        for group in groups:
            yield teacher, (group[1], group[2]), [cell.run for cell in task.groups[group]]


def _named(task: Estimates, teacher: str, names: Sequence[str]) -> Row:
    return dict(zip(NAMES, (task.task.name, teacher, *names), strict=True))


def _predictions(runs: Sequence[Run]) -> Any:
    return np.stack([run.predictions for run in runs if run.predictions is not None])


def _log_probabilities(runs: Sequence[Run]) -> list[Any]:
    return [run.log_probabilities for run in runs if run.log_probabilities is not None]


def _calibration(task: Task, runs: Sequence[Run]) -> Row:
    return _mean(
        {"calibration_error": calibration_error(one, task.labels), "brier": brier(one, task.labels)}
        for one in _log_probabilities(runs)
    )


def _disputed(task: Estimates, group: Group, teacher: Run) -> Iterator[Row]:
    fine_tuned = {cell.seed: cell.run.predictions for cell in task.groups.get(plain(group), ())}
    labels = task.task.labels
    for cell in task.groups[group]:
        other, own = fine_tuned.get(cell.seed), cell.run.predictions
        if other is None or own is None or teacher.predictions is None:
            continue
        differ = other != teacher.predictions
        row: Row = {"disputed": float(differ.mean())}
        if differ.any():
            sides = {"score": own, "plain": other, "teacher": teacher.predictions}
            row |= {f"disputed_{name}": float((side == labels)[differ].mean()) for name, side in sides.items()}
        yield row


def _mean(rows: Iterable[Row]) -> Row:
    """Means of the columns that all rows have."""
    rows = list(rows)
    return (
        {name: float(np.mean([row[name] for row in rows])) for name in rows[0] if all(name in row for row in rows)}
        if rows
        else {}
    )
