"""Stage ``verified``: hold what was captured to the live teacher, on a random sample, before any student reads it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from codekd.data.batches import shards
from codekd.data.rows import Captured, Ragged
from codekd.data.splits import SPLITS
from codekd.errors import CodekdError
from codekd.signals.base import parse
from codekd.signals.capture import load_teacher
from codekd.signals.format import read_shard, shard_name

if TYPE_CHECKING:
    from codekd.study.job import Job

SAMPLE = 32
"""Examples of every split that are computed anew, all of one shard."""


def run(jobs: "Sequence[Job]", folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Compare a sample of some signals of one teacher on one task with what the teacher gives now.

    That files are whole, and that parents are the ones that were planned, is checked before any stage runs.

    Raises:
        CodekdError: shards or ids are not those of the encoded examples, or rows are too far off, which are named.
    """
    teacher = load_teacher(jobs)
    signals = [parse(job.spec["signal"]) for job in jobs]
    generator = np.random.default_rng(0)
    worst = [0.0] * len(jobs)
    for split in SPLITS:
        sizes = shards(teacher.encoded, split)
        there = [index for index, signal in enumerate(signals) if split in signal.splits]
        for index in there:
            _check_shards(jobs[index].parents["signal"], split, len(sizes))
        if not (sizes and there):
            continue
        shard = int(generator.integers(len(sizes)))
        rows = np.sort(generator.permutation(sizes[shard])[:SAMPLE])
        data, lives = teacher.signals([signals[index] for index in there], split, shard, rows)
        for index, live in zip(there, lives, strict=True):
            job, signal = jobs[index], signals[index]
            path = job.parents["signal"] / shard_name(split, shard)
            ids, cached = read_shard(path, signal.kind)
            if ids != data.ids:
                raise CodekdError(f"{path} holds other examples than {teacher.encoded}; delete its folder.")
            off = differences(cached.take(rows), live)
            wrong = [data.ids[row] for row, far in zip(rows, off, strict=True) if not far <= signal.tolerance]
            if wrong:
                raise CodekdError(
                    f"{path}: {len(wrong)} of {len(rows)} examples differ from what the teacher gives by up to "
                    f"{max(off):.2g}, where {signal.tolerance} is allowed: {', '.join(wrong)}. "
                    f"Delete {path.parent} and run again."
                )
            worst[index] = max(worst[index], float(max(off)))
    return [
        {"difference": difference, "tolerance": signal.tolerance}
        for difference, signal in zip(worst, signals, strict=True)
    ]


def differences(cached: Captured, live: Captured) -> NDArray[np.float64]:
    """How far two versions of some examples are apart, ``(examples,)``.

    The largest difference of a number, relative to the root mean square of the numbers at its place in a row;
    infinite where one of both is no number, or where they are about other units.
    """
    here, there = (np.asarray(one.values, dtype=np.float64) for one in (cached, live))
    if isinstance(cached, Ragged) and isinstance(live, Ragged):
        owner = np.repeat(np.arange(len(live)), live.count.sum(1))
        if not (np.array_equal(cached.first, live.first) and np.array_equal(cached.count, live.count)):
            return np.full(len(live), np.inf)
    else:
        owner = np.arange(len(live))
    # Numbers that hardly vary are as precise as the others of their row, not more.
    scale = np.sqrt(np.nanmean(there**2, axis=0)) + 1e-3 * np.sqrt(np.nanmean(there**2))
    far = np.abs(here - there) / scale
    far[np.isnan(here) & np.isnan(there)] = 0
    worst = np.zeros(len(live))
    np.maximum.at(worst, owner, np.nan_to_num(far, nan=np.inf).reshape(len(far), -1).max(1))
    return worst


def _check_shards(folder: Path, split: str, count: int) -> None:
    found = sorted(path.name for path in folder.glob(f"{split}-*.parquet"))
    if found != [shard_name(split, index) for index in range(count)]:
        raise CodekdError(f"{folder} has {len(found)} shards of {split} where there are {count}; delete it.")
