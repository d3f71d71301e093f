"""The smoke study through a real Slurm: ``make test-cluster``. Takes minutes, needs root and Debian's packages.

A job and then Snakemake itself are killed in the middle; the study ends with what a local run ends with.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from checkout import Checkout

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
TOOLS = ("slurmctld", "slurmd", "sbatch", "squeue", "scancel", "munged")
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
            patience = ["-o", "Acquire::http::Timeout=30", "-o", "Acquire::Retries=1"]
            subprocess.run(["apt-get", *patience, *command], env=environment, capture_output=True, check=False)
    if not installed():
        pytest.skip(f"Debian's {', '.join(PACKAGES)} are not installed and cannot be had")
    script, state = Path(__file__).with_name("slurm.sh"), tmp_path_factory.mktemp("slurm")
    said = state / "up.log"
    with said.open("w") as log:  # not a pipe, which the daemons would keep open
        started = subprocess.run(["bash", script, "up", state], stdout=log, stderr=log, check=False)
    if started.returncode != 0:
        subprocess.run(["bash", script, "down", state], check=False)
        pytest.skip(f"Slurm does not start on this machine: {said.read_text().strip()[-300:]}")
    yield
    subprocess.run(["scancel", "--user", "root"], check=False)
    subprocess.run(["bash", script, "down", state], check=True)


@pytest.fixture(scope="module")
def checkouts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkout, Checkout]:
    """One for the cluster, one for a local run."""
    folder = tmp_path_factory.mktemp("checkouts")
    return Checkout(folder / "slurm"), Checkout(folder / "local")


def on_slurm(checkout: Checkout) -> subprocess.Popen[str]:
    """Run the study."""
    no_gpu = [f"{rule}:gpu=0" for rule in CPU_RULES]
    options = ("--profile", "profiles/slurm", *HERE, "--set-resources", *no_gpu)
    with checkout.folder.joinpath("snakemake.log").open("a") as log:
        return checkout.start("all", *options, stdout=log, stderr=log, start_new_session=True)


def running() -> list[str]:
    listed = subprocess.run(["squeue", "-h", "-t", "RUNNING", "-o", "%i"], capture_output=True, text=True, check=True)
    return listed.stdout.split()


def cancel_one() -> bool:
    """Cancel a job that runs, if one does."""
    jobs = running()
    return bool(jobs) and subprocess.run(["scancel", jobs[0]], check=False).returncode == 0


def finished(checkout: Checkout, stage: str) -> list[Path]:
    return sorted((checkout.results / stage).rglob("manifest.json"))


def wait_for(condition: Callable[[], object], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.5)


def test_the_study_ends_as_a_local_one_whatever_is_killed(slurm: None, checkouts: tuple[Checkout, Checkout]) -> None:
    cluster, local = checkouts
    log = cluster.folder / "snakemake.log"
    master = on_slurm(cluster)
    wait_for(lambda: finished(cluster, "signals") and cancel_one(), 1200)
    wait_for(lambda: len(finished(cluster, "students")) >= 4 and running(), 1200)
    assert master.poll() is None, log.read_text()[-3000:]
    os.killpg(master.pid, signal.SIGKILL)
    master.wait()
    # Contents, which say when a node was made: Snakemake touches what a job has made when the job ends.
    done = {path: path.read_bytes() for path in finished(cluster, "students")}

    # Jobs outlive their master; they are cancelled before another begins.
    subprocess.run(["scancel", "--user", "root"], check=True)
    wait_for(lambda: not running(), 60)
    assert on_slurm(cluster).wait() == 0, log.read_text()[-3000:]
    assert not running(), "nothing is left behind"
    again = [path for path, content in done.items() if path.read_bytes() != content]
    assert not again, "what was finished is not made again"

    local.snakemake("all")
    cells = [path.relative_to(local.folder) for path in finished(local, "students")]
    assert cells == [path.relative_to(cluster.folder) for path in finished(cluster, "students")]
    for cell in cells:
        first, second = (pl.read_parquet((one.folder / cell).with_name("predictions.parquet")) for one in checkouts)
        assert first.equals(second), cell
    scores = [pl.read_csv(next(one.results.glob("report/*/tables/scores.csv"))) for one in checkouts]
    names = ["task", "teacher", "student", "method", "score", "valid_score"]
    assert scores[0].select(names).equals(scores[1].select(names))


def test_jobs_that_run_a_model_had_a_gpu_and_others_none(slurm: None, checkouts: tuple[Checkout, Checkout]) -> None:
    def gpus(stage: str) -> set[str | None]:
        return {json.loads(path.read_text())["host"]["gpus"] for path in finished(checkouts[0], stage)}

    assert gpus("students") == {"0", "1"}
    assert gpus("teachers") <= {"0", "1"}
    assert gpus("encoded") == {None}
