"""Progress of long loops: a bar on a terminal, a line now and then in a log."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

LOG_EVERY_SECONDS = 10.0

logger = logging.getLogger(__name__)


def track(
    iterable: Iterable[Item],
    total: int | None = None,
    description: str = "",
    unit: str = "it",
    size: Callable[[Item], int] = lambda item: 1,
) -> Iterator[Item]:
    """Yield the items unchanged and show how many are done, the rate and the time left.

    On a terminal this is a bar that disappears when done; elsewhere (a log file) at most one line every ten seconds.

    Args:
        iterable: the items.
        total: units of all items; ``len(iterable)`` by default, where that exists.
        description: name of the loop.
        unit: name of a unit.
        size: units of an item.
    """
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    if sys.stderr.isatty():
        with tqdm(desc=description, total=total, unit=unit, leave=False) as bar:
            for item in iterable:
                yield item
                bar.update(size(item))
        return
    start = last = time.monotonic()
    done = 0
    for item in iterable:
        yield item
        done += size(item)
        now = time.monotonic()
        if now - last >= LOG_EVERY_SECONDS:
            last = now
            logger.info("%s: %s", description, _status(done, total, now - start, unit))


def _status(done: int, total: int | None, seconds: float, unit: str) -> str:
    rate = done / seconds
    if total is None:
        return f"{done:,} {unit}, {rate:.1f} {unit}/s"
    return f"{done:,}/{total:,} {unit}, {rate:.1f} {unit}/s, {max(total - done, 0) / rate:.0f} s left"
