"""Timing of several pieces of work in turns, so that other load of the machine falls on all of them alike.

Shapes: ``rounds`` are repetitions, ``works`` the pieces of work that are compared, ``steps`` the parts of one.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Seconds = NDArray[np.float64]

BUSY = 1.1
"""Ratio of wall time to CPU time above which a machine was busy: a computing thread waits for nothing but a core."""


def spread(lengths: NDArray[np.integer], count: int) -> NDArray[np.int64]:
    """Rows of ``count`` examples, evenly spread over the sorted ``lengths``, in a fixed random order.

    Args:
        lengths: length of every example, ``(examples,)``.
        count: number of rows; all examples where there are fewer.
    """
    places = np.linspace(0, len(lengths) - 1, min(count, len(lengths))).astype(int)
    rows = np.argsort(lengths, kind="stable")[places]
    return np.random.default_rng(0).permutation(rows)


@dataclass(frozen=True)
class Times:
    """Wall time and CPU time of the measuring thread, in seconds, ``(rounds, works, steps)`` each."""

    wall: Seconds
    cpu: Seconds

    @property
    def busy(self) -> bool:
        """Whether the thread waited for a core for more than a tenth of its time."""
        return bool(self.wall.sum() > BUSY * self.cpu.sum())


def take_turns(
    works: Sequence[Sequence[Callable[[int], object]]],
    rounds: int,
    in_a_row: int = 1,
    warm: int = 1,
    longest: float = float("inf"),
    fewest: int = 1,
) -> Times:
    """Measure pieces of work in turns: some rounds of every work, then the next rounds of every work, and so on.

    Args:
        works: the steps of every work; a step is called with the number of the round.
        rounds: largest number of rounds.
        in_a_row: rounds of one work in a row before the next work's turn: a model that is asked again and again has
            its weights in the caches, and one that follows a larger model has not.
        warm: rounds of every work that are done beforehand and not counted.
        longest: seconds after which no new turn begins, once there were ``fewest`` rounds.
        fewest: smallest number of rounds, unless ``rounds`` is smaller.
    """
    for work in works:
        for number in range(min(warm, rounds)):
            for step in work:
                step(number)
    found: list[list[list[tuple[float, float]]]] = [[] for _ in works]
    end, done = time.perf_counter() + longest, 0
    while done < rounds and (done < fewest or time.perf_counter() < end):
        turn = range(done, min(done + in_a_row, rounds))
        for work, times in zip(works, found, strict=True):
            times += [[_timed(step, number) for step in work] for number in turn]
        done = turn.stop
    wall, cpu = np.moveaxis(np.array(found).swapaxes(0, 1), -1, 0)
    return Times(wall, cpu)


def _timed(step: Callable[[int], object], number: int) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.thread_time()
    step(number)
    return time.perf_counter() - wall, time.thread_time() - cpu


def ratio(first: Seconds, second: Seconds) -> float:
    """Median over rounds of the ratio of the first work's time to the second's, measured in turns.

    Both works of a round had the same example and, a few rounds apart, the same load and clock rate, and a round in
    which one of them was disturbed is only one of many.

    Args:
        first: seconds of the first work, ``(rounds,)``.
        second: seconds of the second work, ``(rounds,)``.
    """
    return float(np.median(first / second))
