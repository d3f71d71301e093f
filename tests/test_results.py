"""The commands on a results folder: status, diff, accept, gc and verify."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from every_stage import finish
from safetensors.numpy import save_file
from typer.testing import CliRunner, Result

from codekd.cli import app
from codekd.study import identity
from codekd.study.claim import announce, claimed
from codekd.study.graph import Graph
from codekd.study.job import ERROR, scratch_folder
from codekd.study.manifest import MANIFEST, read_manifest, size_and_hash, write_manifest
from codekd.study.resolve import load_study

ROOT = Path(__file__).parents[1]
BASE = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
CELL = "students/defect/minilm/bigru-1.5m/dist/seed1"


class Place:
    """A folder with configs, and results that are finished in name."""

    def __init__(self, folder: Path) -> None:
        (folder / "corpus").symlink_to(ROOT / "config" / "corpus")
        self.folder, self.results = folder, folder / "results"

    def config(self, name: str, **sections: Any) -> Path:
        """Write a config on one task and student, with sections replaced."""
        content = copy.deepcopy(BASE) | {"name": name}
        content["grid"] |= {"tasks": ["defect"], "students": ["bigru-1.5m"], "methods": ["ft", "kd", "dist"]}
        for section, value in sections.items():
            content[section] = content.get(section, {}) | value
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    def graph(self, config: Path) -> Graph:
        """The graph of a config."""
        return Graph(load_study(yaml.safe_load(config.read_text()), [config]), self.results)

    def run(self, command: str, *arguments: Any) -> Result:
        """What ``codekd`` prints, and its exit code."""
        return CliRunner().invoke(app, [command, *map(str, arguments), "--results", str(self.results)])

    def folder_of(self, config: Path, name: str) -> Path:
        """The folder of a node by its stage and coordinates."""
        [node] = [node for node in self.graph(config) if node.path == name]
        return self.results / node.folder


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def study(place: Place) -> Path:
    config = place.config("study")
    finish(place.graph(config), place.results)
    return config


def test_status_of_a_finished_study(place: Place, study: Path) -> None:
    found = place.run("status", study)
    assert found.exit_code == 0
    assert "students        3     3" in found.output


def test_status_tells_running_failed_killed_and_missing_apart(place: Place, study: Path) -> None:
    nodes = [node for node in place.graph(study) if node.stage == "students"]
    report = place.graph(study).report
    for node in (*nodes, report):
        shutil.rmtree(place.results / node.folder)
    assert place.run("status", study).exit_code == 4
    running, failed, killed = nodes
    for node in (failed, killed):
        scratch_folder(place.results, node.name).mkdir(parents=True)
    (scratch_folder(place.results, failed.name) / ERROR).write_text("the loss is nan")
    with claimed(place.results, running.name):
        found = place.run("status", study)
    assert found.exit_code == 3
    [row] = [line.split() for line in found.output.splitlines() if line.startswith("students")]
    assert row == ["students", "3", "1", "1", "1"]
    assert f"failed: students {'/'.join(failed.coordinates)}: the loss is nan" in found.output
    assert f"killed: students {'/'.join(killed.coordinates)}: it ended without a word" in found.output
    assert f"running: students {'/'.join(running.coordinates)}: process " in found.output


def test_gc_keeps_what_any_study_reaches(place: Place, study: Path) -> None:
    other = place.config("other", methods={"dist": {"gamma": 3.0}})
    finish(place.graph(other), place.results)
    cell = place.folder_of(other, CELL)
    log = place.results / "logs" / cell.relative_to(place.results).with_name(f"{cell.name}.log")
    log.parent.mkdir(parents=True)
    log.touch()
    scratch = scratch_folder(place.results, "students-x-0123456789ab")
    scratch.mkdir(parents=True)
    assert place.run("gc", study, other).output.startswith("stage     folders  size\n.scratch        1")
    listed = place.run("gc", study)
    assert "students        1" in listed.output and "3 folders" in listed.output and cell.exists()
    removed = place.run("gc", study, "--delete")
    assert removed.output.splitlines()[-1].startswith("Removed 3 folders")
    assert not cell.exists() and not log.exists() and not scratch.exists()
    assert place.run("status", study).exit_code == 0
    assert place.run("gc", study).output == "Nothing to remove.\n"


def test_gc_leaves_what_a_running_study_or_job_uses(place: Place, study: Path) -> None:
    other = place.config("other", methods={"dist": {"gamma": 3.0}})
    graph = place.graph(other)
    finish(graph, place.results)
    announce(place.results, [node.identity for node in graph])
    assert place.run("gc", study, "--delete").output == "Nothing to remove.\n"
    assert place.run("status", other).exit_code == 0


def test_verify_of_what_is_no_node_is_an_error(place: Place, study: Path) -> None:
    for path in (place.results / "nowhere", place.results / "logs"):
        found = place.run("verify", path)
        assert found.exit_code == 1 and f"{path} is no folder of a node and has none in it" in found.output
    cell = place.folder_of(study, CELL)
    assert place.run("verify", cell).output.startswith("1 folders verified")
    assert place.run("verify", cell.parents[1]).output.startswith("2 folders verified"), "those below it"


def test_accept_takes_over_what_differs_in_a_module_alone(
    place: Place, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {node.path: node.identity for node in place.graph(study)}
    teacher = place.folder_of(study, "teachers/defect/minilm")
    (teacher / "notes.txt").write_text("weights")
    manifest = read_manifest(teacher)
    write_manifest(teacher, manifest | {"files": {"notes.txt": size_and_hash(teacher / "notes.txt")}})

    digests = identity._source_digest
    changed = {"codekd.training.loop": "new", "codekd.methods.kd": "new"}
    monkeypatch.setattr(identity, "_source_digest", lambda name: changed.get(name) or digests(name))
    again = {node.path for node in place.graph(study) if node.identity != before[node.path]}
    said = place.run("accept", "codekd.training.loop", "--reason", "a log line", "--by", "ada", "--config", study)
    assert said.exit_code == 0, said.output

    missing = {node.path for node in place.graph(study) if not (place.results / node.folder / MANIFEST).exists()}
    assert missing == {"students/defect/minilm/bigru-1.5m/kd/seed1", "report/study"}, "kd changed in its own module too"
    assert said.output == f"{len(again - missing)} nodes taken over.\n"
    taken = place.folder_of(study, "teachers/defect/minilm")
    assert taken != teacher and (taken / "notes.txt").read_text() == "weights"
    [record] = read_manifest(taken)["accepted"]
    assert record["from"] == manifest["identity"] and record["by"] == "ada" and record["reason"] == "a log line"
    assert record["modules"] == ["codekd.training.loop"]
    assert place.run("verify").exit_code == 0


def test_accept_follows_parents_of_several_versions_and_of_an_earlier_call(
    place: Place, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A teacher of the first version, sequences of two: the newest ones have no child."""
    digests, changed = identity._source_digest, {"codekd.data.encode": "second"}
    monkeypatch.setattr(identity, "_source_digest", lambda name: changed.get(name) or digests(name))
    nodes = place.graph(study)
    finish([node for node in nodes if node.stage == "encoded"], place.results)
    changed |= {"codekd.data.encode": "third", "codekd.training.loop": "third"}
    encode = place.run("accept", "codekd.data.encode", "--reason", "none", "--config", study)
    assert encode.exit_code == 0 and encode.output != "0 nodes taken over.\n"
    assert not (place.folder_of(study, "teachers/defect/minilm") / MANIFEST).exists()
    loop = place.run("accept", "codekd.training.loop", "--reason", "none", "--config", study)
    assert loop.exit_code == 0, loop.output
    assert (place.folder_of(study, CELL) / MANIFEST).exists(), loop.output


def test_accept_refuses_what_did_not_change_and_what_is_damaged(
    place: Place, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = identity._source_digest
    monkeypatch.setattr(
        identity, "_source_digest", lambda name: "new" if name == "codekd.methods.dist" else digests(name)
    )
    refused = place.run("accept", "codekd.methods.crd", "--reason", "none", "--config", study)
    assert refused.exit_code == 1 and "codekd.methods.crd is no module whose change" in refused.output
    [cell] = (place.results / "students/defect/minilm/bigru-1.5m/dist").iterdir()
    write_manifest(cell, read_manifest(cell) | {"files": {"metrics.json": {"size": 2, "sha256": "0"}}})
    damaged = place.run("accept", "codekd.methods.dist", "--reason", "none", "--config", study)
    assert damaged.exit_code == 1 and f"{cell / 'metrics.json'} is not what was written there" in damaged.output


def test_accept_leaves_what_a_value_is_gone_from(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(place.graph(place.config("study", tasks={"defect": {"examples": {"train": 300}}})), place.results)
    study = place.config("study", tasks={"defect": {}})
    digests = identity._source_digest
    module = "codekd.data.tasks.defect"
    monkeypatch.setattr(identity, "_source_digest", lambda name: "new" if name == module else digests(name))
    said = place.run("accept", module, "--reason", "a log line", "--config", study)
    assert said.output == "0 nodes taken over.\n"
    assert not (place.folder_of(study, "examples/defect") / MANIFEST).exists()


@pytest.fixture
def node(place: Place, study: Path) -> Path:
    """A node with a file of each format."""
    folder = place.folder_of(study, CELL)
    pl.DataFrame({"id": ["a", "b"], "label": [0, 1]}).write_parquet(folder / "predictions.parquet")
    save_file({"weight": pl.Series([1.0, 2.0]).to_numpy()}, folder / "model.safetensors")
    (folder / "metrics.json").write_text(json.dumps({"accuracy": 0.5}))
    (folder / "figures").mkdir()
    (folder / "figures" / "a.svg").write_text("<svg/>")
    files = {str(path.relative_to(folder)): size_and_hash(path) for path in folder.rglob("*.[!j]*") if path.is_file()}
    files["metrics.json"] = size_and_hash(folder / "metrics.json")
    write_manifest(folder, read_manifest(folder) | {"files": files})
    return folder


def test_verify_finds_a_flipped_bit_in_any_file_and_names_it(place: Place, node: Path) -> None:
    assert place.run("verify").output.endswith("folders verified, 0 problems.\n")
    paths = [path for path in node.rglob("*") if path.is_file()]
    assert len(paths) == 5
    for path in paths:
        content = path.read_bytes()
        for place_of_bit in (0, len(content) // 2, len(content) - 1):
            damaged = bytearray(content)
            damaged[place_of_bit] ^= 16
            path.write_bytes(damaged)
            found = place.run("verify", node)
            assert found.exit_code == 1 and str(node) in found.output and path.name in found.output
        path.write_bytes(content)
    assert place.run("verify", node).exit_code == 0


def test_verify_names_what_is_missing_strange_or_in_another_folder(place: Place, node: Path) -> None:
    (node / "notes.txt").write_text("mine")
    assert f"{node / 'notes.txt'} was written by nobody" in place.run("verify", node).output
    (node / "notes.txt").unlink()
    (node / "figures" / "a.svg").unlink()
    assert f"{node / 'figures/a.svg'} is not what was written there: it is missing" in place.run("verify", node).output
    moved = node.with_name("seed1-0123456789ab")
    node.rename(moved)
    assert "another one than its folder" in place.run("verify", moved).output


def test_diff_of_studies_says_what_changed_and_what_one_has_alone(place: Place, study: Path) -> None:
    grid = {**BASE["grid"], "students": ["bigru-1.5m"], "methods": ["ft", "dist"]}
    other = place.config("study2", methods={"dist": {"gamma": 3.0}}, grid=grid)
    found = place.run("diff", study, other)
    assert found.exit_code == 0, found.output
    assert f"{CELL}: method.gamma: 1.0 -> 3.0" in found.output
    assert "only in the first: students/defect/minilm/bigru-1.5m/kd/seed1" in found.output


def test_diff_of_cells_compares_config_versions_machines_and_scores(place: Place, study: Path) -> None:
    other = place.config("other", methods={"dist": {"gamma": 3.0}})
    finish(place.graph(other), place.results)
    cells = [place.folder_of(config, CELL) for config in (study, other)]
    for cell, score, precision, unit in zip(cells, (0.5, 0.625), ("float32", "bfloat16"), ("avx2", "sve"), strict=True):
        summary = {
            "metric": "accuracy",
            "scores": {"test": {"accuracy": score}},
            "device": "cpu",
            "precision": precision,
        }
        made = {"summary": summary, "versions": {"torch": str(score)}, "host": {"units": [unit]}}
        write_manifest(cell, read_manifest(cell) | made)
    found = place.run("diff", *cells)
    assert found.output.splitlines()[:4] == [
        "method.gamma: 1.0 -> 3.0",
        "version of torch: 0.5 -> 0.625",
        "precision: float32 -> bfloat16",
        "units of the processor: avx2 -> sve",
    ]
    assert found.output.splitlines()[-1].split() == ["test", "accuracy", "0.5000", "0.6250", "+0.1250"]
    assert place.run("diff", cells[0], cells[0]).output.startswith("made from the same")
