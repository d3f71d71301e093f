"""Scores of all models of a task, as estimates from which every interval of the task follows."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codekd.analysis.results import NO_TEACHER, Cell, Task
from codekd.analysis.variance import Estimate, sample
from codekd.errors import CodekdError

Group = tuple[str, str, str]
TOLERANCE = 1e-4  # scores in metrics.json may be rounded


@dataclass(frozen=True)
class Estimates:
    """A task with the scores of its models.

    Attributes:
        task: the runs of the task.
        groups: cells by (teacher, student, method), one a seed.
        students: score of every group, with a value a seed.
        teachers: score of every teacher that left predictions; like a floor it is one model and has one value.
        floor: score of the n-gram floor; None where the study has none.
        taught: score of the floor that was fitted to a teacher's predictions, by teacher.
    """

    task: Task
    groups: Mapping[Group, tuple[Cell, ...]]
    students: Mapping[Group, Estimate]
    teachers: Mapping[str, Estimate]
    floor: Estimate | None
    taught: Mapping[str, Estimate]

    @property
    def panels(self) -> list[tuple[str, list[Group]]]:
        """Groups to compare with each other, by teacher: the teacher's own and those of methods without a teacher."""
        teachers = dict.fromkeys([*self.task.teachers, *(teacher for teacher, _, _ in self.groups)])
        teachers.pop(NO_TEACHER, None)
        return [
            (name, [group for group in self.groups if group[0] in (name, NO_TEACHER)])
            for name in (teachers or [NO_TEACHER])
        ]


def estimate(task: Task) -> Estimates:
    """Score all runs of a task.

    Raises:
        CodekdError: the score in a run's metrics.json is not that of its predictions, or the metric has no formula.
    """
    groups: dict[Group, tuple[Cell, ...]] = {}
    for cell in sorted(task.cells, key=lambda cell: cell.seed):
        key = (cell.teacher, cell.student, cell.method)
        groups[key] = (*groups.get(key, ()), cell)
    teachers = {name: run for name, run in task.teachers.items() if run.predictions is not None}
    cells = [cell for group in groups.values() for cell in group]
    floors = [*([task.floor] if task.floor else []), *task.taught.values()]
    runs = [*(cell.run for cell in cells), *teachers.values(), *floors]
    predictions = np.stack([run.predictions for run in runs if run.predictions is not None])
    found = sample(task.metric, task.labels, predictions, task.units)
    for run, score in zip(runs, found.scores, strict=True):
        if abs(task.score(run) - score) > TOLERANCE:
            raise CodekdError(
                f"{run.folder}: metrics.json states a test {task.metric} of {task.score(run):.4f}, the "
                f"predictions have {score:.4f}; delete the folder and run again."
            )
    numbers = iter(range(len(runs)))
    return Estimates(
        task=task,
        groups=groups,
        students={key: found.estimate([next(numbers) for _ in group]) for key, group in groups.items()},
        teachers={name: found.estimate([next(numbers)]) for name in teachers},
        floor=found.estimate([next(numbers)]) if task.floor else None,
        taught={name: found.estimate([next(numbers)]) for name in task.taught},
    )
