"""Memory of this process: what it needs, and what is handed back to the system."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def return_memory() -> None:
    """Hand back what the C library keeps in pieces of all sizes: with tensors of ever other shapes it would grow."""
    with suppress(AttributeError, OSError, TypeError):  # there is no such function but in glibc
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """What the process needed at most inside, above what it had, in bytes; 0 where the system does not tell."""
    found = [0]
    return_memory()
    before = memory("VmRSS")
    # Writing 5 there starts the count of the peak anew.
    reset = Path("/proc/self/clear_refs")
    if os.access(reset, os.W_OK):
        reset.write_text("5")
    yield found
    found[0] = max(memory("VmHWM") - before, 0)


def memory(name: str) -> int:
    """A number of this process's in bytes, such as ``VmHWM``, the peak of its memory; 0 where there is none."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(name)), 0)
