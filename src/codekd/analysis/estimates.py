"""The scores of everything in a task, as estimates from which all of its intervals follow."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codekd.analysis.results import NO_TEACHER, Cell, Task
from codekd.analysis.variance import Estimate, sample
from codekd.errors import CodekdError

Group = tuple[str, str, str]
TOLERANCE = 1e-4  # metrics.json may round


@dataclass(frozen=True)
class Estimates:
    """A task with its runs' scores.

    ``groups`` maps (teacher, student, method) to its cells, one a seed, and ``students`` to their score. ``teachers``
    lacks those that left no predictions. ``taught`` are the floors that teachers taught. A teacher and a floor are one
    model each, and have one value.
    """

    task: Task
    groups: Mapping[Group, tuple[Cell, ...]]
    students: Mapping[Group, Estimate]
    teachers: Mapping[str, Estimate]
    floor: Estimate | None
    taught: Mapping[str, Estimate]

    @property
    def panels(self) -> list[tuple[str, list[Group]]]:
        """What is compared with each other: every teacher with its groups and those without a teacher."""
        teachers = dict.fromkeys([*self.task.teachers, *(teacher for teacher, _, _ in self.groups)])
        teachers.pop(NO_TEACHER, None)
        return [
            (name, [group for group in self.groups if group[0] in (name, NO_TEACHER)])
            for name in (teachers or [NO_TEACHER])
        ]


def estimate(task: Task) -> Estimates:
    """Score a task's runs.

    Raises:
        CodekdError: a run's metrics.json states another score than its predictions have.
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
