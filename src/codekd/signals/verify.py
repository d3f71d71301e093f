"""Stage ``verified``: comparison of captured signals with the live teacher on a sample, before students read them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from codekd.data.batches import shards
from codekd.data.rows import Captured, Ragged
from codekd.data.splits import SPLITS, UNLABELED
from codekd.errors import CodekdError
from codekd.signals.base import UNLABELED_PRECISION, Signal, parse
from codekd.signals.capture import check_numbers, load_teacher, not_finite
from codekd.signals.format import read_shard, shard_name
from codekd.study.manifest import read_manifest

if TYPE_CHECKING:
    from codekd.study.job import Job

SAMPLE = 32
"""Examples of every split that are computed anew, all of one shard."""

EPSILON = {"bfloat16": 2.0**-7, "float16": 2.0**-10}
"""Machine epsilon of half precisions, the relative distance of neighbouring numbers near 1."""

ROUNDING = 16
"""Allowed difference of numbers in half precision, in epsilons.

In bfloat16 on a CPU, log-probabilities that causal models of 2 to 24 layers gave in other batches were up to 5 apart:
up to 0.04 where words are likely, 0.07 where they are not.
"""

SWAYED = 0.5
"""Share of examples whose sampled answers may be others in half precision.

A token that was hardly more likely than the next may not be drawn, and one such changes a vote. Of another model's
answers hardly any are the same.
"""


def run(jobs: "Sequence[Job]", folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Compare a sample of some signals of one teacher on one task with what the teacher gives now.

    That files are whole, and that parents are the ones that were planned, is checked before any stage runs.

    Returns:
        For each signal the largest difference, what is allowed, and device and precision then and now.

    Raises:
        CodekdError: shards or ids are not those of the encoded examples, or rows are not finite or too far off; the
            message names the examples.
    """
    teacher = load_teacher(jobs)
    checks = [_Check.of(job, teacher.describe(parse(job.spec["signal"]))) for job in jobs]
    generator = np.random.default_rng(0)
    worst = [0.0] * len(jobs)
    for split, sizes, there in _alike(checks, teacher.encoded):
        for index in there:
            _check_shards(checks[index].folder, split, len(sizes))
        if not sizes:
            continue
        shard = int(generator.integers(len(sizes)))
        rows = np.sort(generator.permutation(sizes[shard])[:SAMPLE])
        data, lives = teacher.signals([checks[index].signal for index in there], split, shard, rows)
        for index, live in zip(there, lives, strict=True):
            path = checks[index].folder / shard_name(split, shard)
            ids, cached = read_shard(path, checks[index].signal.kind)
            if ids != data.ids[: sizes[shard]]:
                raise CodekdError(f"{path} holds other examples than {teacher.encoded}; delete its folder.")
            check_numbers(jobs[index], split, [ids[row] for row in rows], live)
            worst[index] = max(worst[index], checks[index].difference(split, path, ids, cached, rows, live))
    return [check.summary(difference) for check, difference in zip(checks, worst, strict=True)]


def _alike(checks: "Sequence[_Check]", encoded: Path) -> "Iterator[tuple[str, list[int], list[int]]]":
    """Yield a split, the sizes of its shards, and the places of the checks that are of these shards."""
    for split in SPLITS:
        found: dict[tuple[int, ...], list[int]] = {}
        for index, check in enumerate(checks):
            if split in check.signal.splits:
                found.setdefault(tuple(shards(encoded, split, check.unlabeled)), []).append(index)
        for sizes, there in found.items():
            yield split, list(sizes), there


@dataclass(frozen=True)
class _Check:
    """Captured signal, and device and precision of it: when it was ``captured``, and ``now``."""

    signal: Signal
    folder: Path
    captured: Mapping[str, str]
    now: Mapping[str, str]
    sampled: bool
    unlabeled: int | None

    @classmethod
    def of(cls, job: "Job", now: Mapping[str, str]) -> Self:
        summary = read_manifest(job.parents["signal"])["summary"]
        captured = {name: summary[name] for name in now}
        sampled = job.spec.get("question", {}).get("answers") == "sample"
        unlabeled = job.spec.get("unlabeled_states")
        return cls(parse(job.spec["signal"]), job.parents["signal"], captured, now, sampled, unlabeled)

    def precisions(self, split: str) -> tuple[str, str]:
        """Precisions of a split, then and now."""
        name = UNLABELED_PRECISION if split == UNLABELED else "precision"
        then, now = (one.get(name, one["precision"]) for one in (self.captured, self.now))
        return then, now

    def tolerance(self, split: str) -> float:
        """Tolerance of the wider of the two precisions."""
        return tolerance(self.signal, *self.precisions(split))

    def excused(self, split: str) -> float:
        """Share of examples that may be farther off."""
        return SWAYED if self.sampled and self.tolerance(split) > self.signal.tolerance else 0.0

    def difference(
        self, split: str, path: Path, ids: Sequence[str], cached: Captured, rows: NDArray[np.int64], live: Captured
    ) -> float:
        """Largest difference of some rows of a shard."""
        if len(found := not_finite(self.signal, cached)):
            raise CodekdError(
                f"{path}: {len(found)} examples are not finite, {ids[found[0]]} first, which no capture writes. Delete "
                f"{self.folder} and run again."
            )
        off, allowed = differences(cached.take(rows), live), self.tolerance(split)
        wrong = [ids[row] for row, far in zip(rows, off, strict=True) if not far <= allowed]
        if len(wrong) > self.excused(split) * len(rows):
            raise CodekdError(
                f"{path}: {len(wrong)} of {len(rows)} examples differ from what the teacher gives by up to "
                f"{max(off):.2g}, where {allowed:.2g} is allowed: {', '.join(wrong)}. {self._reason(split)}"
            )
        return float(max(off))

    def _reason(self, split: str) -> str:
        devices = self.captured["device"], self.now["device"]
        then, now = (f"{device} in {one}" for device, one in zip(devices, self.precisions(split), strict=True))
        if then != now:
            return (
                f"They were captured on {then}, and now the teacher runs on {now}: run this where they were captured, "
                f"or delete {self.folder} to capture them here."
            )
        return (
            f"They were captured on {then}, as the teacher runs now, so the cause may be another version of a library "
            f"or another processor: delete {self.folder} to capture them with those of here. If that does not help, "
            f"what the teacher says of an example depends on the others of its batch."
        )

    def summary(self, difference: float) -> dict[str, Any]:
        widest = max(self.signal.splits, key=self.tolerance)
        excused = self.excused(widest)
        allowed = {"tolerance": self.tolerance(widest)} | ({"excused": excused} if excused else {})
        return {"difference": difference, **allowed, **self.now, "captured": dict(self.captured)}


def tolerance(signal: Signal, *precisions: str) -> float:
    """Allowed difference of a signal's numbers that were computed in some precisions."""
    return max(signal.tolerance, *(ROUNDING * EPSILON.get(precision, 0) for precision in precisions))


def differences(cached: Captured, live: Captured) -> NDArray[np.float64]:
    """Largest relative difference between two versions of each example, ``(examples,)``.

    Differences of numbers are relative to the root mean square of the numbers at their place in a row; they are
    infinite where only one of both is a number, or where the versions are about other units.
    """
    here, there = (np.asarray(one.values, dtype=np.float64) for one in (cached, live))
    if isinstance(cached, Ragged) and isinstance(live, Ragged) and not _same_units(cached, live):
        return np.full(len(live), np.inf)
    # Where all numbers at a place are tiny, they are still no more precise than the others of their row.
    scale = np.sqrt(np.nanmean(there**2, axis=0)) + 1e-3 * np.sqrt(np.nanmean(there**2))
    far = np.abs(here - there) / scale
    far[np.isnan(here) & np.isnan(there)] = 0
    worst = np.zeros(len(live))
    np.maximum.at(worst, live.owners, np.nan_to_num(far, nan=np.inf).reshape(len(far), -1).max(1))
    return worst


def _same_units(cached: Ragged, live: Ragged) -> bool:
    return np.array_equal(cached.first, live.first) and np.array_equal(cached.count, live.count)


def _check_shards(folder: Path, split: str, count: int) -> None:
    found = sorted(path.name for path in folder.glob(f"{split}-*.parquet"))
    if found != [shard_name(split, index) for index in range(count)]:
        raise CodekdError(f"{folder} has {len(found)} shards of {split} where there are {count}; delete it.")
