"""Memory of this process: its current and peak size, and the return of unused memory to the system."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def return_memory() -> None:
    """Return freed memory to the system.

    The C library keeps it in pieces of all sizes: with tensors of ever other shapes the process would grow.
    """
    with suppress(AttributeError, OSError, TypeError):  # only glibc has the function
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """Measure the peak memory of a block, in bytes above what the process had before.

    Yields:
        A list of one number, which is set when the block ends; 0 where the system does not say.
    """
    found = [0]
    return_memory()
    before = memory("VmRSS")
    # Writing 5 resets the kernel's record of the peak, VmHWM.
    reset = Path("/proc/self/clear_refs")
    if os.access(reset, os.W_OK):
        reset.write_text("5")
    yield found
    found[0] = max(memory("VmHWM") - before, 0)


def memory(name: str) -> int:
    """Memory of this process in bytes; 0 where the system does not say.

    Args:
        name: a field of ``/proc/self/status``, such as ``VmRSS``, the current size, or ``VmHWM``, the peak.
    """
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(name)), 0)
