"""A full disk, a folder that nobody may write to, Ctrl-C: said in a line, nothing half-written, gone on from."""

import os
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest
from crashes import SMALL, Victim

NAMESPACE = ["unshare", "--map-root-user", "--mount"]
WAIT_SECONDS = 60


@pytest.mark.skipif(subprocess.call([*NAMESPACE, "true"]) != 0, reason="needs a namespace to mount a small disk in")
def test_a_full_disk_and_one_that_is_read_only(tmp_path: Path) -> None:
    project = Victim(tmp_path / "study", seed=1, config=SMALL).project
    project.results.mkdir()
    run, later = (shlex.join(project.command("all", "--until", rule)) for rule in ("floor", "tokenizer"))
    steps = [
        f"mount -t tmpfs -o size=200k none results; {run}; echo EXIT $?",
        f"find results -name '*.parquet'; mount -o remount,size=50m results; {run}; echo EXIT $?",
        f"mount -o remount,ro results; {later}; echo EXIT $?",
    ]
    shell = project.run([*NAMESPACE, "sh", "-c", ";".join(steps)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    full, full_code, larger, larger_code, read_only, read_only_code, _ = re.split(
        r"EXIT (\d)\n", shell.communicate()[0]
    )
    assert "No space left on the disk of results/corpus/current-" in full and full_code == "1"
    assert ".parquet" not in larger, "nothing half-written is left"
    assert larger_code == "0", larger
    assert "nothing can be written to results: Read-only file system" in read_only and read_only_code == "1"


def test_an_interrupted_study_ends_at_once_and_says_how_to_go_on(tmp_path: Path) -> None:
    victim = Victim(tmp_path / "study", seed=1, config=SMALL)
    run = victim.project.start("all", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    until = time.monotonic() + WAIT_SECONDS
    while not list(victim.stages()) and time.monotonic() < until:
        time.sleep(0.1)
    time.sleep(2)
    os.killpg(run.pid, signal.SIGINT)
    said, _ = run.communicate(timeout=WAIT_SECONDS)
    assert run.returncode != 0
    assert "was stopped. The same command goes on where it last saved something." in said, said[-3000:]
    assert not list(victim.stages())
