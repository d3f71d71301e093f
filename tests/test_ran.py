"""Studies that ran here are known by name, and what they need is no garbage."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from codekd.cli import app
from codekd.study.claim import claimed, running
from codekd.study.garbage import garbage, remove
from codekd.study.graph import Graph, Node
from codekd.study.ran import record, records
from codekd.study.resolve import load_study

CONFIG = yaml.safe_load(Path("config/smoke.yaml").read_text())


def graph_of(path, results, **changes):
    return Graph(load_study(CONFIG | changes, [path]), results)


@pytest.fixture
def ran(tmp_path):
    """Results of a study that was run with more than its config file says, with folders of three of its nodes."""
    results, path = tmp_path / "results", tmp_path / "config" / "mine.yaml"
    shutil.copytree("config", path.parent)
    path.write_text(yaml.safe_dump(CONFIG | {"name": "mine"}))
    merged = CONFIG | {"name": "mine", "grid": CONFIG["grid"] | {"seeds": [7]}}
    graph = Graph(load_study(merged, [path]), results)
    record(results, "mine", merged, [path], [node.identity for node in graph])
    for node in (*graph.stage("students")[:2], graph.report):
        (results / node.folder).mkdir(parents=True)
    return results, path, graph


def test_what_a_study_needs_that_ran_here_is_no_garbage(ran):
    results, path, graph = ran
    other = graph_of(path, results, name="other")
    assert garbage(results, [other]) == []
    [known] = records(results)
    assert (known.name, known.files) == ("mine", (str(path),)) and known.nodes == {node.identity for node in graph}
    assert len(garbage(results, [other], forget=True)) == 3
    assert len(remove(results, [other], forget=True)) == 3 and records(results) == []


def test_commands_know_a_study_by_its_name_as_it_was_run(ran):
    results, _path, graph = ran
    for command in (["status", "mine"], ["plan", "mine"], ["report", "mine"], ["gc", "mine"]):
        done = CliRunner().invoke(app, [*command, "--results", str(results)])
        assert done.exit_code in (0, 4) and "Traceback" not in done.output, done.output
    said = CliRunner().invoke(app, ["report", "mine", "--results", str(results)]).stdout
    assert said.strip() == str(results / graph.report.folder / "index.html")
    refused = CliRunner().invoke(app, ["plan", "yours", "--results", str(results)])
    assert refused.exit_code == 1 and "no study that ran here (those are: mine)" in " ".join(refused.output.split())
    assert CliRunner().invoke(app, ["gc", "mine", "--results", str(results / "no")]).exit_code == 1


def test_a_run_again_takes_the_place_of_its_record_and_damaged_ones_are_none(ran):
    results, path, _graph = ran
    record(results, "mine", CONFIG, [path], ["a" * 12])
    record(results, "mine", CONFIG, [path], ["b" * 12])
    assert next(one.nodes for one in records(results)) == {"b" * 12} and len(records(results)) == 2
    for damage in ("", "{}", "[1]", '{"name": 1'):
        (results / ".studies" / "x-1.json").write_text(damage)
        assert len(records(results)) == 2


def test_a_job_claims_what_it_reads(tmp_path):
    """Its Snakemake may be killed, and with it the claim of the whole study."""
    with claimed(tmp_path, "students-x-" + "a" * 12, ["b" * 12]):
        assert running(tmp_path) == {"a" * 12, "b" * 12}
        (tmp_path / "signals" / f"x-{'b' * 12}").mkdir(parents=True)
        (tmp_path / "signals" / f"x-{'c' * 12}").mkdir(parents=True)
        assert [one.folder.name for one in remove(tmp_path, [])] == [f"x-{'c' * 12}"]


def test_a_job_is_a_file_however_long_and_goes_with_its_node(tmp_path):
    parents = {f"trials/{number}": Node("trials", (str(number),), {}, ("codekd.errors",)) for number in range(3000)}
    node = Node("selected", ("x" * 40,) * 5 + ("y" * 120,), {}, ("codekd.errors",), parents)
    assert not node.job_file(tmp_path, write=False).exists()
    path = node.job_file(tmp_path)
    assert path.stat().st_size > 250_000 and json.loads(path.read_text()) == json.loads(node.job(tmp_path))
    assert path == node.job_file(tmp_path) and len(node.name) < 230
    (tmp_path / node.folder.parent / node.folder.name).mkdir(parents=True)
    remove(tmp_path, [])
    assert not path.exists()
