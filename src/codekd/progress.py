"""Progress of long loops: a bar on a terminal, a line now and then in a log."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

LOG_EVERY_SECONDS = 10.0

logger = logging.getLogger(__name__)


def track(
    iterable: Iterable[Item], total: int | None = None, description: str = "", unit: str = "it"
) -> Iterator[Item]:
    """Yield the items unchanged and show how many are done, the rate and the time left.

    ``total`` is taken from ``len(iterable)`` where that exists. On a terminal this is a bar that disappears
    when done; elsewhere (a log file) at most one line every ten seconds.
    """
    if sys.stderr.isatty():
        yield from tqdm(iterable, desc=description, total=total, unit=unit, leave=False)
        return
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    start = last = time.monotonic()
    for done, item in enumerate(iterable, start=1):
        yield item
        now = time.monotonic()
        if now - last >= LOG_EVERY_SECONDS:
            last = now
            logger.info("%s: %s", description, _status(done, total, now - start, unit))


def _status(done: int, total: int | None, seconds: float, unit: str) -> str:
    rate = done / seconds
    if total is None:
        return f"{done:,} {unit}, {rate:.1f} {unit}/s"
    return f"{done:,}/{total:,} {unit}, {rate:.1f} {unit}/s, {max(total - done, 0) / rate:.0f} s left"
