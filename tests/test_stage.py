"""Running a node: what it is given is checked, what it leaves behind is whole."""

import errno
import json
import signal
import subprocess
import sys

import pytest
import torch

from codekd.errors import CodekdError
from codekd.study.graph import Node
from codekd.study.manifest import read_manifest, write_manifest
from codekd.study.stage import Assignment, execute, run_nodes

ENTRIES = ("codekd.errors",)


@pytest.fixture
def parent(tmp_path):
    node = Node("examples", ("clone",), {"limit": 1}, ENTRIES)
    run(node, tmp_path, lambda job, folder: (folder / "train.parquet").write_text("x") and {})
    return node


def run(node, results, stage):
    run_one(stage, planned(node, results))


def run_one(stage, assignment):
    run_nodes(lambda jobs, folders: [stage(*jobs, *folders)], [assignment])


def planned(node, results, **changed):
    return Assignment(json.loads(node.job(results)) | changed, results / node.folder)


def child(parent):
    return Node("students", ("clone", "none", "tiny", "ft", "seed1"), {"seed": 1}, ENTRIES, {"examples": parent})


def write_two(job, folder):
    (folder / "figures").mkdir()
    (folder / "figures" / "a.svg").write_text("a")
    (folder / "metrics.json").write_text((job.parents["examples"] / "train.parquet").read_text())
    return {"seed": job.spec["seed"]}


def test_a_node_leaves_its_files_and_a_manifest(parent, tmp_path):
    node = child(parent)
    run(node, tmp_path, write_two)
    folder = tmp_path / "students/clone/none/tiny/ft" / f"seed1-{node.identity}"
    manifest = read_manifest(folder)
    assert manifest["identity"] == node.identity
    assert manifest["parents"] == {"examples": parent.identity}
    assert manifest["summary"] == {"seed": 1}
    assert manifest["files"]["metrics.json"]["size"] == 1
    assert set(manifest["files"]) == {"metrics.json", "figures/a.svg"}
    assert (folder / "figures/a.svg").read_text() == "a"
    assert not list((tmp_path / ".scratch").iterdir()), "no scratch is left"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux names them")
def test_a_manifest_says_what_the_processor_computes_with(parent, tmp_path):
    run(child(parent), tmp_path, write_two)
    units = read_manifest(tmp_path / child(parent).folder)["host"]["units"]
    assert ("avx2" in units) == torch.cpu._is_avx2_supported()
    assert ("avx512_bf16" in units) == torch.cpu._is_avx512_bf16_supported()


def test_a_stage_that_fails_leaves_nothing_under_a_final_name(parent, tmp_path):
    node = child(parent)

    def fails(job, folder):
        write_two(job, folder)
        raise CodekdError("no")

    with pytest.raises(CodekdError):
        run(node, tmp_path, fails)
    assert not (tmp_path / node.folder).exists()
    run(node, tmp_path, write_two)
    assert read_manifest(tmp_path / node.folder)["identity"] == node.identity


def test_scratch_survives_a_failure_and_is_there_for_the_next_try(parent, tmp_path):
    node = child(parent)

    def killed(job, folder):
        (job.scratch / "checkpoint").write_text("epoch 3")
        raise KeyboardInterrupt

    def resumes(job, folder):
        return {"resumed": (job.scratch / "checkpoint").read_text()}

    with pytest.raises(KeyboardInterrupt):
        run(node, tmp_path, killed)
    run(node, tmp_path, resumes)
    assert read_manifest(tmp_path / node.folder)["summary"] == {"resumed": "epoch 3"}


@pytest.mark.parametrize("key", ["spec", "code", "stage"])
def test_a_job_that_is_not_what_its_folder_says_is_refused(key, parent, tmp_path):
    node = child(parent)
    with pytest.raises(CodekdError, match="another one than its folder"):
        run_one(write_two, planned(node, tmp_path, **{key: {"seed": 2} if key == "spec" else "other"}))


def test_source_that_changed_after_planning_is_refused(parent, tmp_path, monkeypatch):
    node = child(parent)
    assignment = planned(node, tmp_path)
    monkeypatch.setattr("codekd.study.stage.code_digest", lambda entries: "0" * 12)
    with pytest.raises(CodekdError, match="another one than when this job was planned"):
        run_one(write_two, assignment)


def test_a_missing_or_foreign_parent_is_named(parent, tmp_path):
    manifest = tmp_path / parent.folder / "manifest.json"
    write_manifest(manifest.parent, read_manifest(manifest.parent) | {"identity": "0" * 12})
    with pytest.raises(CodekdError, match="read as examples, has another identity"):
        run(child(parent), tmp_path, write_two)
    manifest.unlink()
    with pytest.raises(CodekdError, match="is not a finished node"):
        run(child(parent), tmp_path, write_two)


@pytest.mark.parametrize("content", ["y", "", None], ids=["one byte", "truncated", "missing"])
def test_a_file_of_a_parent_that_is_not_what_was_written_is_named(content, parent, tmp_path):
    path = tmp_path / parent.folder / "train.parquet"
    path.write_text(content) if content is not None else path.unlink()
    with pytest.raises(CodekdError, match=rf"{path} is not what was written there.* Delete {path.parent} and run"):
        run(child(parent), tmp_path, write_two)
    run_nodes(lambda *_: [{}], [planned(child(parent), tmp_path)], ".parquet")


def test_several_nodes_are_made_in_one_go_or_none_is(parent, tmp_path):
    nodes = [Node("signals", ("clone", "minilm", name), {"seed": 1}, ENTRIES, {"examples": parent}) for name in "ab"]
    assignments = [planned(node, tmp_path) for node in nodes]

    def write(jobs, folders):
        return [write_two(job, folder) | {"made": folder.name} for job, folder in zip(jobs, folders, strict=True)]

    with pytest.raises(ZeroDivisionError):
        run_nodes(lambda jobs, folders: write(jobs, folders)[1 // 0], assignments)
    assert not any(one.folder.exists() for one in assignments)
    run_nodes(write, assignments)
    assert [read_manifest(one.folder)["coordinates"][-1] for one in assignments] == ["a", "b"]
    assert not list((tmp_path / ".scratch").iterdir())


def test_errors_become_one_message_and_exit_code_1(parent, tmp_path, caplog):
    node = child(parent)

    def full(job, folder):
        raise OSError(errno.ENOSPC, "No space left on device")

    def wrong(job, folder):
        raise CodekdError("train.parquet, row 3: no label")

    for stage, message in (
        (full, "No space left on the disk of"),
        (wrong, "train.parquet, row 3: no label"),
    ):
        with pytest.raises(SystemExit) as exit_:
            execute(stage, node.job_file(tmp_path), tmp_path / node.folder / "manifest.json", tmp_path / "log.txt")
        assert exit_.value.code == 1
        assert message in (tmp_path / "log.txt").read_text()
        assert "Traceback" not in (tmp_path / "log.txt").read_text()


def test_a_job_that_is_interrupted_while_it_imports_says_how_to_go_on():
    lines = (
        "from codekd.study.stage import quick_imports",
        "with quick_imports():",
        "    print(flush=True)",
        "    while 1: 0",
    )
    job = subprocess.Popen(
        [sys.executable, "-c", "\n".join(lines)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    job.stdout.readline()
    job.send_signal(signal.SIGINT)
    _, said = job.communicate(timeout=60)
    assert job.returncode == 1 and "was stopped. The same command goes on" in said and "Traceback" not in said
