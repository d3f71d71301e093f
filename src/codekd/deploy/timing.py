"""The time that pieces of work take, measured in turns, so that what else the machine does falls on all alike."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Seconds = NDArray[np.float64]

BUSY = 1.1
"""Wall time by CPU time from which a machine was busy: a thread that computes waits for nothing but a core."""


def spread(lengths: NDArray[np.integer], count: int) -> NDArray[np.int64]:
    """The rows of so many examples of all ``lengths``, in an order without meaning."""
    places = np.linspace(0, len(lengths) - 1, min(count, len(lengths))).astype(int)
    rows = np.argsort(lengths, kind="stable")[places]
    return np.random.default_rng(0).permutation(rows)


@dataclass(frozen=True)
class Times:
    """Seconds ``(rounds, works, steps)`` by the clock, ``wall``, and those that this thread had a core, ``cpu``."""

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
    """Do every work with some rounds, then every work with the next ones, and so on, each on one thread.

    Args:
        works: what is measured, the steps of each; a step is given the number of the round.
        rounds: how often each is done at most.
        in_a_row: so many rounds of a work follow each other before it is another one's turn: a model that is asked
            again and again has its weights in the caches, and one that follows a larger model has not.
        warm: so many rounds of each are done beforehand and not counted.
        longest: seconds after which no new turn begins,
        fewest: unless there were not so many rounds yet.
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
    """How many times as long the first work takes as the second, both ``(rounds,)`` of one measurement in turns.

    The median of the ratios of single rounds: both works of a round met the same example and, a few rounds apart, the
    same load and clock rate, and a round in which one of them was disturbed is no more than one of many.
    """
    return float(np.median(first / second))
