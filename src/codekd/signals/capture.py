"""Stage ``signals``: run a teacher once over every split, and write the signals that methods read."""

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from codekd.data.batches import shards
from codekd.data.rows import Captured
from codekd.data.splits import SPLITS
from codekd.errors import CodekdError
from codekd.files import put
from codekd.memory import return_memory
from codekd.progress import track
from codekd.signals.base import Signal, parse
from codekd.signals.format import shard_name, write_shard

if TYPE_CHECKING:
    from codekd.study.job import Job

NAMED = 10
"""Largest number of examples that a message names."""


def load_teacher(jobs: "Sequence[Job]") -> Any:
    """Load the one teacher of some jobs, of the module in codekd.signals that their spec names.

    Its method ``signals(wanted, split, shard, rows)`` returns the shard's examples and for every wanted signal its
    rows; ``describe(signal)`` names the device and the precision that it is made in.
    """
    return importlib.import_module(f"codekd.signals.{jobs[0].spec['by']}").Teacher.load(jobs)


def run(jobs: "Sequence[Job]", folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Write the shards of some signals of one teacher on one task in one pass.

    Memory is bounded by a shard. A run that is killed goes on with the first shard that it had not finished.

    Args:
        jobs: one for each signal.
        folders: where each signal is written.

    Returns:
        Device and precision of each signal, for its manifest.

    Raises:
        CodekdError: the teacher gives numbers that are not finite, see :func:`check_numbers`.
    """
    captures = [_Capture(job, folder) for job, folder in zip(jobs, folders, strict=True)]
    teacher = load_teacher(jobs)
    names = ", ".join(capture.signal.name for capture in captures)
    todo = list(_passes(captures, teacher.encoded))
    examples = sum(size for _, _, size, _ in todo)
    task, name = jobs[0].coordinates[:2]
    title = f"{names} of {name} on {task}"
    for split, shard, size, missing in track(todo, examples, title, "example", size=lambda one: one[2]):
        data, signals = teacher.signals([capture.signal for capture in missing], split, shard, np.arange(size))
        for capture, rows in zip(missing, signals, strict=True):
            capture.write(split, shard, data.ids[:size], rows)
        del data, signals
        return_memory()
    for capture in captures:
        capture.finish()
    return [teacher.describe(capture.signal) for capture in captures]


def _passes(captures: "Sequence[_Capture]", encoded: Path) -> "Iterator[tuple[str, int, int, list[_Capture]]]":
    """Yield a split, a shard, how many examples of it, and the captures that lack that shard."""
    for split in SPLITS:
        missing: dict[tuple[int, int], list[_Capture]] = {}
        for capture in captures:
            for shard, size in enumerate(shards(encoded, split, capture.unlabeled)):
                if capture.lacks(split, shard):
                    missing.setdefault((shard, size), []).append(capture)
        for (shard, size), some in sorted(missing.items(), key=lambda item: item[0]):
            yield split, shard, size, some


def not_finite(signal: Signal, rows: Captured) -> NDArray[np.int64]:
    """Places in ``rows`` of the examples that have numbers which are not finite, other than the signal's gaps."""
    wrong = np.isinf(rows.values) if signal.gaps else ~np.isfinite(rows.values)
    return np.unique(rows.owners[wrong.reshape(len(wrong), -1).any(1)])


def check_numbers(job: "Job", split: str, ids: Sequence[str], rows: Captured) -> None:
    """Raise an error for numbers that no student can learn from.

    Args:
        job: names teacher, task and signal.
        split: split of the examples.
        ids: ids of the examples that ``rows`` are of.
        rows: captured rows.

    Raises:
        CodekdError: some numbers are not finite; the message names the examples.
    """
    signal = parse(job.spec["signal"])
    if not len(wrong := not_finite(signal, rows)):
        return
    (task, name), more = job.coordinates[:2], ", ..." if len(wrong) > NAMED else ""
    remedy = (
        f"If its training diverged, lower `learning_rate` in teachers.{name}.training"
        if "teacher" in job.parents
        else "If it ran in float16, run it where there is bfloat16 or in float32; if not, its weights are damaged"
    )
    if rows.values.dtype == np.float16:
        remedy += f"; if its states are larger than {np.finfo(np.float16).max:.0f}, {signal.kind} cannot hold them"
    raise CodekdError(
        f"teachers.{name} on {task}: its {signal.name} of {len(wrong)} of {len(ids)} examples of {split} are not "
        f"finite: {', '.join(ids[row] for row in wrong[:NAMED])}{more}. {remedy}."
    )


class _Capture:
    """Shards of one signal, kept in the job's scratch folder until all are there."""

    def __init__(self, job: "Job", folder: Path) -> None:
        self.signal = parse(job.spec["signal"])
        self.unlabeled: int | None = job.spec.get("unlabeled_states")
        self._job = job
        self._folder = folder
        self._scratch = job.scratch / "shards"
        self._scratch.mkdir(parents=True, exist_ok=True)

    def lacks(self, split: str, shard: int) -> bool:
        return split in self.signal.splits and not self._path(split, shard).exists()

    def write(self, split: str, shard: int, ids: Sequence[str], rows: Captured) -> None:
        check_numbers(self._job, split, ids, rows)
        temporary = self._scratch / "unfinished"
        write_shard(temporary, self.signal.kind, ids, rows)
        put(temporary, self._path(split, shard))

    def finish(self) -> None:
        for path in sorted(self._scratch.glob("*.parquet")):
            put(path, self._folder / path.name)

    def _path(self, split: str, shard: int) -> Path:
        return self._scratch / shard_name(split, shard)
