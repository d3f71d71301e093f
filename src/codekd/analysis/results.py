"""What the trained nodes of a study left behind, read and checked for analysis."""

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
    """One model on one task: a student's cell, a teacher, the floor or one that a teacher taught.

    ``metrics`` is the content of its metrics.json, ``predictions`` ``(examples,)`` its class numbers on the test
    split, None for a teacher that left none, and ``log_probabilities`` ``(examples, classes)`` those of every class in
    nats, None where the run left no logits. ``made`` says on what it was made.
    """

    folder: Path
    metrics: Mapping[str, Any]
    made: Made
    predictions: NDArray[np.int32] | None = None
    log_probabilities: NDArray[np.float64] | None = None

    @property
    def cost(self) -> float | None:
        """Seconds of training: of the CPU, which other load hardly changes, or of the clock on a GPU.

        None where nothing was trained. Compare those of runs with the same :attr:`clock` alone.
        """
        return self.metrics.get("train_seconds" if self.made.on_gpu else "train_cpu_seconds")

    @property
    def clock(self) -> tuple[str, str]:
        """What the seconds of :attr:`cost` were counted on."""
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

    ``labels`` is ``(examples,)``; ``groups`` ``(examples,)`` name what each example belongs to, such as its package,
    and ``units`` what of that is sampled; ``types`` ``(examples,)`` names the kind of each example where the task
    tells kinds apart (the clone types), and ``characters`` ``(examples,)`` counts those of its code. ``floor`` is
    None where the study has none; ``taught`` are those that teachers taught, by teacher.
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
        """A run's score by the task's metric."""
        return run.metrics["scores"][split][self.metric]


def read_tasks(job: Job) -> list[Task]:
    """The tasks of a report's job, in the order of its spec, that have cells.

    Raises ``CodekdError`` for a file that is missing or unreadable, and for predictions within a task that
    are not about the same examples in the same order.
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
    # A column per class in memory: reductions over a few classes are many times as fast as along rows.
    return log_softmax(np.asfortranarray(flat.reshape(len(frame), -1)), axis=1)


def _read_metrics(folder: Path) -> dict[str, Any]:
    path = folder / "metrics.json"
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CodekdError(f"{path}: no readable scores: {error}") from error


def _read_beside(folder: Path | None, examples: pl.DataFrame) -> pl.DataFrame:
    """What the examples themselves say of those that were predicted, in their order.

    ``type``, ``group``, ``characters``, and of pairs ``code_a`` and ``code_b`` as numbers that tell code apart.
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
