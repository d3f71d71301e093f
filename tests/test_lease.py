"""Jobs of one machine share its GPUs: as many on each as there are slots, and the others wait."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from codekd.study.lease import ALLOCATION, leased_gpus, visible_gpus

JOB = """
import os, sys, time
from pathlib import Path
from codekd.study.lease import leased_gpus
with leased_gpus(int(sys.argv[2])):
    path = Path(sys.argv[1], f"{os.getpid()}-{os.environ['CUDA_VISIBLE_DEVICES']}")
    path.touch()
    time.sleep(1.2)
    path.unlink()
"""


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with two GPUs, as its driver's tool lists them."""
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA X (UUID: GPU-a)'\necho 'GPU 1: NVIDIA X (UUID: GPU-b)'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for name in ("CUDA_VISIBLE_DEVICES", "CODEKD_SLOTS_PER_GPU", *ALLOCATION):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def most_at_once(folder: Path, jobs: int, count: int = 1) -> dict[str, int]:
    """How many of some jobs that run at the same time are on each GPU, at most."""
    folder.mkdir()
    running = [subprocess.Popen([sys.executable, "-c", JOB, str(folder), str(count)]) for _ in range(jobs)]
    most: dict[str, int] = {}
    while any(job.poll() is None for job in running):
        seen = [gpu for path in folder.iterdir() for gpu in path.name.partition("-")[2].split(",")]
        most |= {gpu: max(most.get(gpu, 0), seen.count(gpu)) for gpu in seen}
        time.sleep(0.02)
    assert all(job.returncode == 0 for job in running)
    return most


@pytest.mark.parametrize("slots", [1, 2])
def test_every_gpu_has_as_many_jobs_as_slots(slots: int, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEKD_SLOTS_PER_GPU", str(slots))
    assert most_at_once(machine / "jobs", 3 * slots) == {"0": slots, "1": slots}


def test_a_job_on_several_gpus_shares_none(machine: Path) -> None:
    assert most_at_once(machine / "jobs", 2, count=2) == {"0": 1, "1": 1}


def test_what_the_user_set_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with leased_gpus():
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with leased_gpus():
        assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


def test_jobs_in_one_allocation_share_what_the_scheduler_gave(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert most_at_once(machine / "jobs", 4) == {"2": 1, "3": 1}


@pytest.mark.parametrize("variable", ["SLURM_JOB_ID", "SLURM_STEP_ID", "LSB_JOBINDEX"])
def test_what_a_scheduler_gave_to_another_job_is_not_waited_for(
    variable: str, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv(variable, "7")
    with leased_gpus():
        monkeypatch.setenv(variable, "8")
        # Each has a GPU of its own, which is the first that it sees.
        assert most_at_once(machine / "jobs", 1) == {"0": 1}


def test_without_a_gpu_nothing_is_done(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert visible_gpus() == ["0", "1"]
    (machine / "bin" / "nvidia-smi").write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed' >&2\nexit 9\n")
    with leased_gpus():
        assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_the_environment_is_as_before_after_a_lease() -> None:
    with leased_gpus():
        assert os.environ["CUDA_VISIBLE_DEVICES"] in ("0", "1")
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
