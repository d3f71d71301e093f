"""The resampled scores of everything in a task, from which all its intervals follow."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codekd.analysis.intervals import METRICS, Scores, resample_examples, resample_seeds
from codekd.analysis.results import NO_TEACHER, Cell, Run, Task
from codekd.errors import CodekdError

Group = tuple[str, str, str]
TOLERANCE = 1e-4  # metrics.json may round


@dataclass(frozen=True)
class Resampled:
    """A task with its runs' scores on the same resamples, ``(resamples,)`` each.

    ``groups`` maps (teacher, student, method) to its cells, one a seed, and ``students`` to their mean score.
    ``teachers`` lacks those that left no predictions.
    """

    task: Task
    groups: Mapping[Group, tuple[Cell, ...]]
    students: Mapping[Group, Scores]
    teachers: Mapping[str, Scores]
    floor: Scores | None

    def score(self, group: Group) -> float:
        """A group's mean test score over its seeds."""
        return float(np.mean([self.task.score(cell.run) for cell in self.groups[group]]))

    @property
    def panels(self) -> list[tuple[str, list[Group]]]:
        """What is compared with each other: every teacher with its groups and those without a teacher."""
        teachers = dict.fromkeys([*self.task.teachers, *(teacher for teacher, _, _ in self.groups)])
        teachers.pop(NO_TEACHER, None)
        return [
            (name, [group for group in self.groups if group[0] in (name, NO_TEACHER)])
            for name in (teachers or [NO_TEACHER])
        ]


def resample(task: Task) -> Resampled:
    """Resample a task's test examples and seeds.

    Raises ``CodekdError`` when a run's metrics.json states another score than its predictions have.
    """
    groups: dict[Group, tuple[Cell, ...]] = {}
    for cell in sorted(task.cells, key=lambda cell: cell.seed):
        key = (cell.teacher, cell.student, cell.method)
        groups[key] = (*groups.get(key, ()), cell)
    teachers = {name: run for name, run in task.teachers.items() if run.predictions is not None}
    cells = [cell for group in groups.values() for cell in group]
    runs = [cell.run for cell in cells] + list(teachers.values()) + ([task.floor] if task.floor else [])
    scores = iter(_scores(task, runs).T)
    per_group = {
        key: (np.stack([next(scores) for _ in group], axis=1), [cell.seed for cell in group])
        for key, group in groups.items()
    }
    return Resampled(
        task=task,
        groups=groups,
        students={key: resample_seeds(*sample) for key, sample in per_group.items()},
        teachers={name: next(scores) for name in teachers},
        floor=next(scores, None),
    )


def _scores(task: Task, runs: list[Run]) -> Scores:
    """Resampled scores, ``(resamples, runs)``."""
    predictions = np.stack([run.predictions for run in runs if run.predictions is not None])
    resampled = resample_examples(task.metric, task.labels, predictions)
    once = np.ones((1, len(task.labels)), dtype=np.float32)
    for run, score in zip(runs, METRICS[task.metric](once, task.labels, predictions)[0], strict=True):
        if abs(task.score(run) - score) > TOLERANCE:
            raise CodekdError(
                f"{run.folder}: metrics.json states a test {task.metric} of {task.score(run):.4f}, the "
                f"predictions have {score:.4f}; delete the folder and run again."
            )
    return resampled
