"""Results of a study's trained nodes (scores, predictions, logits, examples), read and checked for analysis.

Shapes: arrays are over the examples of a task's test split, ``(examples,)``, and its classes, ``(examples, classes)``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import log_softmax

from codekd.analysis.provenance import Made, made_on
from codekd.analysis.variance import Units
from codekd.errors import CodekdError

if TYPE_CHECKING:
    from codekd.study.job import Job

NO_TEACHER = "none"


@dataclass(frozen=True)
class Run:
    """Results of one model on one task: of a student's cell, a teacher, or a floor.

    Attributes:
        folder: the folder of the model's node.
        metrics: content of ``metrics.json``.
        made: the machine on which the model was made.
        predictions: predicted class numbers, ``(examples,)``; None for a teacher that left none.
        log_probabilities: log-probabilities of all classes in nats, ``(examples, classes)``; None without logits.
    """

    folder: Path
    metrics: Mapping[str, Any]
    made: Made
    predictions: NDArray[np.int32] | None = None
    log_probabilities: NDArray[np.float64] | None = None

    @property
    def cost(self) -> float | None:
        """Seconds of training: CPU time, which other load hardly changes, or wall time on a GPU.

        None where nothing was trained. Only costs of runs with the same :attr:`clock` are comparable.
        """
        return self.metrics.get("train_seconds" if self.made.on_gpu else "train_cpu_seconds")

    @property
    def clock(self) -> tuple[str, str]:
        """Device and processor on which the seconds of :attr:`cost` were counted."""
        return self.made.clock


@dataclass(frozen=True)
class Cell:
    """One trained student; ``teacher`` is ``"none"`` for a method without one."""

    teacher: str
    student: str
    method: str
    seed: int
    run: Run


@dataclass(frozen=True)
class Task:
    """All runs of a task, on the same test examples in the same order.

    Attributes:
        name: the task's name.
        metric: name of the task's metric.
        classes: names of the classes, by number.
        ids: ids of the test examples.
        labels: class numbers of the test examples, ``(examples,)``.
        groups: the group, such as a package, of every example, ``(examples,)``.
        units: the units that are sampled independently.
        types: the type of every example, such as a clone type, ``(examples,)``; None where the task has no types.
        characters: characters of every example's code, ``(examples,)``; None where the examples were not read.
        cells: the trained students.
        teachers: runs of the teachers, by name.
        floor: run of the n-gram floor; None where the study has none.
        taught: runs of floors that were fitted to a teacher's predictions, by teacher.
    """

    name: str
    metric: str
    classes: tuple[str, ...]
    ids: tuple[str, ...]
    labels: NDArray[np.int32]
    groups: NDArray[np.object_]
    units: Units
    types: NDArray[np.object_] | None
    characters: NDArray[np.int64] | None
    cells: tuple[Cell, ...]
    teachers: Mapping[str, Run]
    floor: Run | None
    taught: Mapping[str, Run] = field(default_factory=dict)

    def score(self, run: Run, split: str = "test") -> float:
        """Score of a run on a split by the task's metric, in [0, 1]."""
        return run.metrics["scores"][split][self.metric]


def read_tasks(job: Job) -> list[Task]:
    """Read the results of all tasks of a report's job that have cells, in the order of its spec.

    Raises:
        CodekdError: a file is missing or unreadable, or the predictions within a task are not about the same examples
            in the same order.
    """
    with_cells = {task for task, *_ in job.spec["cells"]}
    return [_read_task(job, name) for name in job.spec["tasks"] if name in with_cells]


def _read_task(job: Job, name: str) -> Task:
    keys = [key for task, *key in job.spec["cells"] if task == name]
    roles = ["/".join(map(str, ("students", name, *key))) for key in keys]
    first = job.parents[roles[0]]
    examples = _read_predictions(first).select("id", "label")

    def read(role: str) -> Run:
        folder = job.parents[role]
        if role.startswith("teachers/") and not (folder / "predictions.parquet").exists():
            return Run(folder, _read_metrics(folder), made_on(folder))
        frame = _read_predictions(folder)
        if not frame.select("id", "label").equals(examples):
            raise CodekdError(
                f"{folder} and {first}: the predictions are not about the same test examples in the same "
                "order, so their scores cannot be compared; delete the outdated one and run again."
            )
        predictions, logits = frame["prediction"].to_numpy(), _log_probabilities(frame)
        return Run(folder, _read_metrics(folder), made_on(folder), predictions, logits)

    teachers = [teacher for task, teacher in job.spec["teachers"] if task == name]
    beside = _read_beside(job.parents.get(f"examples/{name}"), examples)
    groups = beside["group" if "group" in beside.columns else "id"].to_numpy()
    sides = beside.select("code_a", "code_b").to_numpy() if "code_a" in beside.columns else None
    return Task(
        name=name,
        metric=job.spec["tasks"][name]["metric"],
        classes=tuple(job.spec["tasks"][name]["classes"]),
        ids=tuple(examples["id"]),
        labels=examples["label"].to_numpy(),
        groups=groups,
        units=Units.of(groups, sides),
        types=beside["type"].to_numpy() if "type" in beside.columns else None,
        characters=beside["characters"].to_numpy() if "characters" in beside.columns else None,
        cells=tuple(
            Cell(teacher, student, method, seed, read(role))
            for (teacher, student, method, seed), role in zip(keys, roles, strict=True)
        ),
        teachers={teacher: read(f"teachers/{name}/{teacher}") for teacher in teachers},
        floor=read(f"floors/{name}") if f"floors/{name}" in job.parents else None,
        taught={teacher: read(role) for teacher in teachers if (role := f"floors/{name}/{teacher}") in job.parents},
    )


def _read_predictions(folder: Path) -> pl.DataFrame:
    path = folder / "predictions.parquet"
    try:
        return pl.read_parquet(path).select("id", pl.col("label", "prediction").cast(pl.Int32), "^logits$")
    except (OSError, pl.exceptions.PolarsError) as error:
        raise CodekdError(f"{path}: no readable predictions (id, label, prediction): {error}") from error


def _log_probabilities(frame: pl.DataFrame) -> NDArray[np.float64] | None:
    if "logits" not in frame.columns:
        return None
    flat = frame["logits"].explode().to_numpy().astype(np.float64)
    # Column-major order: reductions over a few classes are many times as fast as along rows.
    return log_softmax(np.asfortranarray(flat.reshape(len(frame), -1)), axis=1)


def _read_metrics(folder: Path) -> dict[str, Any]:
    path = folder / "metrics.json"
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CodekdError(f"{path}: no readable scores: {error}") from error


def _read_beside(folder: Path | None, examples: pl.DataFrame) -> pl.DataFrame:
    """Properties of the predicted examples, in their order, from the table of the task's test examples.

    Columns: ``type`` and ``group`` where the table has them, ``characters``, and for pairs the hashes of ``code_a`` and
    ``code_b``.
    """
    if folder is None:
        return examples.select("id")
    path = folder / "test.parquet"
    columns = pl.read_parquet_schema(path)
    code = [name for name in ("code", "code_a", "code_b") if name in columns]
    wanted = [pl.col("id"), *(pl.col(name) for name in ("type", "group") if name in columns)]
    if code:
        wanted.append(pl.sum_horizontal(pl.col(code).str.len_chars()).cast(pl.Int64).alias("characters"))
    if len(code) == 2:
        wanted += [pl.col(name).hash() for name in code]
    told = pl.scan_parquet(path).select(wanted).collect()
    if missing := examples.join(told, on="id", how="anti")["id"].to_list():
        raise CodekdError(
            f"{path}: lacks {len(missing)} of the examples that the students predicted, such as {missing[0]}; "
            "delete the students made from other examples and run again."
        )
    return examples.select("id").join(told, on="id", how="left", maintain_order="left")
