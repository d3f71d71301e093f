"""Files of one's own in the graph: what they contain names the nodes, not where they lie or how old they are."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_public_data import OWN, own_rows, write_csv

from codekd.data import examples as examples_stage
from codekd.errors import CodekdError
from codekd.study import content
from codekd.study.content import Contents
from codekd.study.graph import Graph
from codekd.study.manifest import read_manifest
from codekd.study.resolve import load_study
from codekd.study.stage import Assignment, run_nodes

STUDY: dict[str, Any] = {
    "name": "own",
    "grid": {"tasks": ["smells"], "teachers": ["minilm"], "students": ["bigru-1.5m"], "methods": ["kd"], "seeds": [1]},
    "tasks": {"smells": OWN | {"files": {"all": "mine.csv"}}},
}


def write(folder: Path, rows: list[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / "mine.csv", rows)
    config = folder / "study.yaml"
    config.write_text(yaml.safe_dump(STUDY))
    return config


def folders(config: Path, results: Path) -> set[str]:
    return set(Graph(load_study(yaml.safe_load(config.read_text()), [config]), results).by_folder)


def test_the_content_of_a_file_names_the_nodes(tmp_path: Path) -> None:
    first = folders(write(tmp_path / "a", own_rows(20)), tmp_path / "results")
    assert first == folders(write(tmp_path / "b", own_rows(20)), tmp_path / "results"), "the same file elsewhere"
    os.utime(tmp_path / "a" / "mine.csv", (1, 1))
    assert first == folders(tmp_path / "a" / "study.yaml", tmp_path / "results"), "the same file, older"
    changed = folders(write(tmp_path / "a", own_rows(21)), tmp_path / "results")
    assert {name.split("/")[0] for name in first & changed} == {"pretrained"}


def test_the_file_reaches_the_job_and_is_checked_there(tmp_path: Path) -> None:
    config = write(tmp_path, own_rows(20))
    graph = Graph(load_study(yaml.safe_load(config.read_text()), [config]), tmp_path / "results")
    [examples] = graph.stage("examples")
    assert "mine.csv" not in str(examples.spec)
    assert yaml.safe_load(examples.job(tmp_path))["parents"]["file/all/0"]["file"] == str(tmp_path / "mine.csv")


def test_a_file_that_is_edited_after_planning_stops_the_job(tmp_path: Path) -> None:
    config = write(tmp_path, own_rows(20))
    graph = Graph(load_study(yaml.safe_load(config.read_text()), [config]), tmp_path / "results")
    [examples] = graph.stage("examples")
    folder = tmp_path / "results" / examples.folder
    planned = Assignment(json.loads(examples.job(tmp_path / "results")), folder)
    write(tmp_path, own_rows(21))
    with pytest.raises(CodekdError, match=r"mine\.csv changed after this job was planned"):
        run_nodes(lambda jobs, folders: [{}], [planned])
    assert not folder.exists()
    write(tmp_path, own_rows(20))
    run_nodes(lambda jobs, folders: [examples_stage.run(*jobs, *folders)], [planned])
    assert read_manifest(folder)["summary"]["train"]["examples"] > 0


def test_a_missing_file_is_named_with_its_task(tmp_path: Path) -> None:
    config = write(tmp_path, own_rows(20))
    (tmp_path / "mine.csv").unlink()
    with pytest.raises(CodekdError, match=r"tasks\.smells: cannot read .*mine\.csv: No such file"):
        folders(config, tmp_path / "results")


def test_a_file_is_read_again_only_when_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    monkeypatch.setattr(content, "digest_of", lambda path: read.append(path) or str(len(read)))  # type: ignore[func-returns-value]
    path, memory = tmp_path / "mine.csv", tmp_path / "results" / "memory.json"
    path.write_text("a")
    assert Contents(memory).file(path).sha256 == "1"
    assert Contents(memory).file(path).sha256 == "2", "one that is so young may still change within a tick"
    monkeypatch.setattr(content, "RECENT_NS", -(10**12))
    assert [Contents(memory).file(path).sha256 for _ in range(3)] == ["3", "3", "3"]
    before = path.stat()
    path.write_text("b")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert Contents(memory).file(path).sha256 == "4", "written in place, its time put back"
    memory.write_text("not JSON")
    assert Contents(memory).file(path).sha256 == "5"
    (tmp_path / "other.csv").write_text("b")
    os.utime(tmp_path / "other.csv", ns=(0, path.stat().st_mtime_ns))
    (tmp_path / "other.csv").replace(path)
    assert Contents(memory).file(path).sha256 == "6", "another file of the same size and time"
