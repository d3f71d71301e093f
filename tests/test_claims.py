"""Nodes are written by one process at a time; what another made is not made again; what is killed is let go."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from codekd.errors import CodekdError
from codekd.study.claim import announce, exclusive, holder, running
from codekd.study.graph import Node
from codekd.study.job import ERROR, scratch_folder
from codekd.study.manifest import MANIFEST, read_manifest
from codekd.study.stage import FORCE, Assignment, execute, run_nodes

NODE = Node("examples", ("clone",), {"limit": 1}, ("codekd.errors",))
HOLDS = """
import sys, time
from pathlib import Path
from codekd.study.claim import announce, claimed
if sys.argv[2] == "study":
    announce(Path(sys.argv[1]), ["0123456789ab"])
    print("held", flush=True)
    time.sleep(60)
with claimed(Path(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """Another process that has claimed the node, or announced a study."""
    what = getattr(request, "param", NODE.name)
    command = [sys.executable, "-c", HOLDS, str(tmp_path), what]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
        process.kill()


def write(made: list[str]):
    def stage(jobs, folders):
        made.append(jobs[0].name)
        (folders[0] / "train.parquet").write_text("x")
        return [{}]

    return stage


def run(results: Path, made: list[str]) -> None:
    run_nodes(write(made), [Assignment(json.loads(NODE.job(results)), results / NODE.folder)])


def test_a_claim_says_who_holds_it_and_ends_with_its_process(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    said = holder(tmp_path, NODE.name)
    assert said is not None and said.startswith(f"process {other.pid} on ")
    assert running(tmp_path) == {NODE.identity}
    assert holder(tmp_path, "another-0123456789ab") is None
    other.kill()
    other.wait()
    assert holder(tmp_path, NODE.name) is None and running(tmp_path) == set()


def test_a_second_writer_waits_for_the_first(
    tmp_path: Path, other: subprocess.Popen[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    made: list[str] = []
    thread = Thread(target=run, args=(tmp_path, made))
    thread.start()
    time.sleep(1)
    assert not made and f"is being written by process {other.pid} on" in caplog.text
    other.kill()
    thread.join(10)
    assert made == ["examples clone"]
    assert not list((tmp_path / ".claims").iterdir())


def test_what_another_run_made_is_not_made_again_unless_forced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    run(tmp_path, made)
    run(tmp_path, made)
    assert len(made) == 1
    monkeypatch.setenv(FORCE, "1")
    run(tmp_path, made)
    assert len(made) == 2


@pytest.mark.parametrize("name", ["train.parquet", MANIFEST])
def test_what_is_there_but_not_as_it_was_written_is_made_again(name: str, tmp_path: Path) -> None:
    made: list[str] = []
    run(tmp_path, made)
    path = tmp_path / NODE.folder / name
    path.write_bytes(path.read_bytes().replace(b"x", b"y"))
    run(tmp_path, made)
    assert len(made) == 2
    assert (tmp_path / NODE.folder / "train.parquet").read_text() == "x"
    read_manifest(tmp_path / NODE.folder)


@pytest.mark.parametrize("other", ["study"], indirect=True)
def test_a_running_study_is_known_by_its_nodes(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    assert running(tmp_path) == {"0123456789ab"}
    other.kill()
    other.wait()
    assert running(tmp_path) == set()


def test_no_study_starts_while_another_process_removes(tmp_path: Path) -> None:
    thread = Thread(target=announce, args=(tmp_path, ["0123456789ab"]))
    with exclusive(tmp_path):
        thread.start()
        time.sleep(0.3)
        assert running(tmp_path) == set()
    thread.join(5)
    assert not thread.is_alive()


def test_a_stopped_stage_says_how_to_go_on_and_keeps_its_checkpoint(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def stopped(job, folder):
        (job.scratch / "checkpoint").write_text("epoch 3")
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as exit_:
            execute(stopped, NODE.job_file(tmp_path), tmp_path / NODE.folder / MANIFEST, tmp_path / "log.txt")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert exit_.value.code == 1
    said = (tmp_path / "log.txt").read_text()
    assert said == f"{tmp_path / NODE.folder} was stopped. The same command goes on where it last saved something.\n"
    scratch = scratch_folder(tmp_path, NODE.name)
    assert (scratch / "checkpoint").exists() and (scratch / ERROR).read_text() == said.strip()
    assert not (tmp_path / NODE.folder).exists()


def test_a_stage_that_hangs_is_ended_and_says_what_it_was_doing(tmp_path: Path) -> None:
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom codekd.study.stage import execute\n"
        "def waits_for_ever(job, folder):\n    time.sleep(60)\n"
        "execute(waits_for_ever, Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))\n"
    )
    arguments = [str(NODE.job_file(tmp_path)), str(tmp_path / NODE.folder / MANIFEST), str(tmp_path / "log.txt")]
    environment = os.environ | {"CODEKD_TIME_LIMIT": "0.02"}
    done = subprocess.run([sys.executable, "-c", script, *arguments], env=environment, timeout=30, check=False)
    assert done.returncode == 1
    said = (tmp_path / "log.txt").read_text()
    assert "waits_for_ever" in said
    assert said.splitlines()[-1] == f"{tmp_path / NODE.folder} took longer than 0.02 min, the $CODEKD_TIME_LIMIT."
    assert holder(tmp_path, NODE.name) is None


def test_memory_that_runs_out_is_said_plainly(tmp_path: Path) -> None:
    def large(job, folder):
        raise MemoryError

    with pytest.raises(SystemExit):
        execute(large, NODE.job_file(tmp_path), tmp_path / NODE.folder / MANIFEST, tmp_path / "log.txt")
    assert "needs more memory than there is; run fewer jobs" in (tmp_path / "log.txt").read_text()


def test_a_manifest_is_read_only_as_it_was_written(tmp_path: Path) -> None:
    run(tmp_path, [])
    path = tmp_path / NODE.folder / MANIFEST
    content = path.read_bytes()
    for place in range(0, len(content), 7):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(CodekdError, match=r"Delete the folder and run again"):
            read_manifest(path.parent)
