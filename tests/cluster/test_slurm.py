"""The smoke study through a real Slurm: ``make test-cluster``. Takes minutes, needs root and Debian's packages.

A job and then Snakemake itself are killed in the middle; the study ends with what a local run ends with.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
TOOLS = ("slurmctld", "slurmd", "sbatch", "squeue", "scancel", "munged")
CONFIG = "config/smoke.yaml"
# What a test machine wants other than a cluster: no accounting, and answers within seconds.
HERE = (
    *("--slurm-no-account", "--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "1"),
    *("--seconds-between-status-checks", "1", "--latency-wait", "5", "--jobs", "4"),
    *("--default-resources", "gpu=1", "mem_mb=2500", "runtime=30"),
)
CPU_RULES = ("examples", "syntax", "floor", "tokenizer", "encoded", "selected")


def installed() -> bool:
    return all(shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin") for tool in TOOLS)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Slurm of one node with two GPUs."""
    if os.geteuid() != 0:
        pytest.skip("a test Slurm needs root")
    if not installed() and shutil.which("apt-get"):
        for command in (("update",), ("install", "--yes", "--no-install-recommends", *PACKAGES)):
            environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
            subprocess.run(["apt-get", *command], env=environment, capture_output=True, check=False)
    if not installed():
        pytest.skip(f"Debian's {', '.join(PACKAGES)} are not installed and cannot be had")
    script, state = Path(__file__).with_name("slurm.sh"), tmp_path_factory.mktemp("slurm")
    subprocess.run(["bash", script, "up", state], check=True)
    yield
    subprocess.run(["scancel", "--user", "root"], check=False)
    subprocess.run(["bash", script, "down", state], check=True)


@pytest.fixture(scope="module")
def checkouts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two clones of this checkout, as it is: one for the cluster, one for a local run."""
    folder = tmp_path_factory.mktemp("checkouts")
    for name in ("slurm", "local"):
        ignored = shutil.ignore_patterns(".git", ".venv", "results", ".snakemake", "__pycache__", "resources")
        shutil.copytree(ROOT, folder / name, ignore=ignored)
    return folder / "slurm", folder / "local"


def snakemake(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "snakemake", "all", "--configfile", CONFIG, "--directory", str(folder), *arguments]


def environment() -> dict[str, str]:
    resources = os.environ.get("CODEKD_RESOURCES", str(ROOT / "resources"))
    return os.environ | {"CODEKD_RESOURCES": resources, "OMP_NUM_THREADS": "1"}


def on_slurm(folder: Path) -> list[str]:
    no_gpu = [f"{rule}:gpu=0" for rule in CPU_RULES]
    return snakemake(folder, "--profile", "profiles/slurm", *HERE, "--set-resources", *no_gpu)


def running() -> list[str]:
    listed = subprocess.run(["squeue", "-h", "-t", "RUNNING", "-o", "%i"], capture_output=True, text=True, check=True)
    return listed.stdout.split()


def finished(folder: Path, stage: str) -> list[Path]:
    return sorted((folder / "results" / stage).rglob("manifest.json"))


def wait_for(condition: Any, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.5)


def test_the_study_ends_as_a_local_one_whatever_is_killed(slurm: None, checkouts: tuple[Path, Path]) -> None:
    cluster, local = checkouts
    run = {"cwd": cluster, "env": environment()}
    log = (cluster / "snakemake.log").open("w")
    master = subprocess.Popen(on_slurm(cluster), stdout=log, stderr=log, start_new_session=True, **run)
    wait_for(lambda: finished(cluster, "signals") and running(), 1200)
    subprocess.run(["scancel", running()[0]], check=True)
    wait_for(lambda: len(finished(cluster, "students")) >= 4 and running(), 1200)
    assert master.poll() is None, (cluster / "snakemake.log").read_text()[-3000:]
    os.killpg(master.pid, signal.SIGKILL)
    master.wait()
    done = {path: path.stat().st_mtime_ns for path in finished(cluster, "students")}

    # Jobs outlive their master; they are cancelled before another begins.
    subprocess.run(["scancel", "--user", "root"], check=True)
    wait_for(lambda: not running(), 60)
    again = subprocess.run(on_slurm(cluster), capture_output=True, text=True, check=False, **run)
    assert again.returncode == 0, again.stdout[-2000:] + again.stderr[-3000:]
    assert not running(), "nothing is left behind"
    assert all(path.stat().st_mtime_ns == time for path, time in done.items()), "what was finished is not made again"

    here = {"cwd": local, "env": environment()}
    subprocess.run(snakemake(local, "--cores", "2"), check=True, capture_output=True, **here)
    cells = finished(local, "students")
    assert [path.relative_to(local) for path in cells] == [
        path.relative_to(cluster) for path in finished(cluster, "students")
    ]
    for path in cells:
        there = cluster / path.relative_to(local)
        first, second = (pl.read_parquet(one.parent / "predictions.parquet") for one in (path, there))
        assert first.equals(second), path
    reports = [next((folder / "results" / "report").rglob("scores.csv")).read_text() for folder in checkouts]
    assert [line.split(",")[:4] for line in reports[0].splitlines()] == [
        line.split(",")[:4] for line in reports[1].splitlines()
    ]


def test_jobs_that_run_a_model_had_a_gpu_and_others_none(slurm: None, checkouts: tuple[Path, Path]) -> None:
    def gpus(stage: str) -> set[str | None]:
        return {json.loads(path.read_text())["host"]["gpus"] for path in finished(checkouts[0], stage)}

    assert gpus("students") == {"0", "1"}
    assert gpus("teachers") <= {"0", "1"}
    assert gpus("encoded") == {None}
