"""Leases of a machine's GPUs: each job gets GPUs of its own, or shares them with a limited number of other jobs.

Snakemake's local executor counts GPUs and does not say which. GPUs that a cluster's scheduler gave to an allocation are
shared among the jobs of that allocation alone.
"""

import logging
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

VISIBLE, SLOTS, PER_TEACHER = "CUDA_VISIBLE_DEVICES", "CODEKD_SLOTS_PER_GPU", "CODEKD_GPUS_PER_TEACHER"
ALLOCATION = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_PROCID", "PBS_JOBID", "LSB_JOBID", "LSB_JOBINDEX")
"""Environment variables by which schedulers name an allocation; each allocation may number its GPUs from 0."""
POLL_SECONDS = 1.0

log = logging.getLogger("codekd")


@contextmanager
def leased_gpus(count: int = 1) -> Iterator[None]:
    """Lease GPUs and make only these visible; no more than ``$CODEKD_SLOTS_PER_GPU`` jobs (1) use one at a time.

    Waits for other jobs, but never for one in another allocation of a cluster's scheduler, which has GPUs of its own.
    Does nothing where there is no GPU.

    Args:
        count: GPUs to lease; all that this process may see if those are fewer.
    """
    gpus = visible_gpus()
    if not gpus:
        yield
        return
    before = os.environ.get(VISIBLE)
    locks = _acquire(gpus, min(count, len(gpus)), int(os.environ.get(SLOTS, "1")))
    os.environ[VISIBLE] = ",".join(locks)
    try:
        yield
    finally:
        for lock in locks.values():
            lock.release()
        if before is None:
            del os.environ[VISIBLE]
        else:
            os.environ[VISIBLE] = before


def gpus_for(stage: str) -> int:
    """Number of GPUs that a job of a stage leases: one, or for a teacher ``$CODEKD_GPUS_PER_TEACHER``."""
    return int(os.environ.get(PER_TEACHER, "1")) if stage == "teachers" else 1


def visible_gpus() -> list[str]:
    """Names of the GPUs that this process may use: those in ``$CUDA_VISIBLE_DEVICES`` if set, else all GPUs."""
    if (named := os.environ.get(VISIBLE)) is not None:
        return [name for name in named.split(",") if name and name != "-1"]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False)
    count = sum(line.startswith("GPU ") for line in listed.stdout.splitlines())
    return [str(number) for number in range(count)]


def _acquire(gpus: list[str], count: int, slots: int) -> dict[str, FileLock]:
    """Locks of ``count`` GPUs by name, the least used first; they end with the process."""
    folder = Path(tempfile.gettempdir(), f"codekd-gpus-{os.getuid()}")
    folder.mkdir(exist_ok=True)
    allocation = [f"{name}={os.environ[name]}" for name in ALLOCATION if name in os.environ]
    said = False
    while True:
        held: dict[str, FileLock] = {}
        for slot in range(slots):
            for gpu in gpus:
                if gpu in held or len(held) == count:
                    continue
                name = "-".join([*allocation, gpu, str(slot)]).replace("/", "_")
                lock = FileLock(folder / f"{name}.lock", timeout=0)
                try:
                    lock.acquire()
                except Timeout:
                    continue
                held[gpu] = lock
        if len(held) == count:
            return held
        for lock in held.values():
            lock.release()
        if not said:
            log.info("waiting for one of the GPUs %s", ", ".join(gpus))
            said = True
        time.sleep(POLL_SECONDS)
