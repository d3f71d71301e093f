"""What would run, and why: the key, module or parent that changed, with its old and its new value."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from every_stage import finish
from typer.testing import CliRunner

from codekd.cli import app
from codekd.errors import CodekdError
from codekd.study import estimate, identity
from codekd.study.explain import Change, Explanation, as_text, explain
from codekd.study.graph import Graph
from codekd.study.resolve import load_study

ROOT = Path(__file__).parents[1]
PATH = ROOT / "config" / "config.yaml"


def graph(**sections: Any) -> Graph:
    config = copy.deepcopy(yaml.safe_load(PATH.read_text()))
    config["grid"] |= {"tasks": ["defect"], "students": ["bigru-1.5m"], "methods": ["ft", "kd", "dist"]}
    for section, value in sections.items():
        config[section] = config.get(section, {}) | value if isinstance(value, dict) else value
    return Graph(load_study(config, [PATH]))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    finish(graph(), tmp_path / "results")
    return tmp_path / "results"


def by_name(found: list[Explanation]) -> dict[str, tuple[Change, ...]]:
    return {one.name: one.changes for one in found}


def test_nothing_would_run(results: Path) -> None:
    assert explain(graph(), results) == []
    assert as_text([]) == "Nothing would run."


def test_a_changed_number_is_named_where_it_is_used_and_parents_after_it(results: Path) -> None:
    study = graph(methods={"dist": {"gamma": 3.0}})
    found = by_name(explain(study, results))
    cell = "students/defect/minilm/bigru-1.5m/dist/seed1"
    assert found[cell] == (Change("method.gamma", 1.0, 3.0),)
    [report] = found["report/embedded"]
    assert report.what == "students/defect/minilm/bigru-1.5m/dist/1"
    assert set(found) == {cell, "report/embedded"}


def test_a_changed_module_is_named(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = identity._source_digest
    changed = "codekd.methods.dist"
    monkeypatch.setattr(identity, "_source_digest", lambda name: "new" if name == changed else digests(name))
    found = by_name(explain(graph(), results))
    [change] = found["students/defect/minilm/bigru-1.5m/dist/seed1"]
    assert (change.what, change.new) == (f"code of {changed}", "new")
    assert set(found) == {"students/defect/minilm/bigru-1.5m/dist/seed1", "report/embedded"}


def test_what_was_never_made_is_new_and_costs_an_estimate(results: Path) -> None:
    grid = {"tasks": ["defect"], "students": ["bigru-1.5m"], "methods": ["ft", "kd", "dist"], "seeds": [1, 2]}
    found = explain(graph(grid=yaml.safe_load(PATH.read_text())["grid"] | grid), results)
    new = [one for one in found if one.name.endswith("seed2")]
    assert len(new) == 3 and all(one.sibling is None and one.seconds > estimate.START for one in new)


def test_of_several_siblings_the_nearest_is_compared(results: Path) -> None:
    finish(graph(methods={"dist": {"label_weight": 3.0, "gamma": 5.0}}), results)
    found = by_name(explain(graph(methods={"dist": {"label_weight": 3.0, "gamma": 4.0}}), results))
    assert found["students/defect/minilm/bigru-1.5m/dist/seed1"] == (Change("method.gamma", 5.0, 4.0),)


def test_a_target_is_a_name_or_a_folder_and_one_that_is_nothing_is_refused(results: Path) -> None:
    study = graph(methods={"dist": {"gamma": 3.0}})
    report = study.report
    for target in ("report", "./report/", f"{results}/{report.folder}", str(report.folder)):
        assert [one.name for one in explain(study, results, [target])] == [report.path], target
    with pytest.raises(CodekdError, match="no node of the study is called studnets: write a stage"):
        explain(study, results, ["studnets"])


def test_targets_text_and_json(results: Path, tmp_path: Path) -> None:
    config = copy.deepcopy(yaml.safe_load(PATH.read_text()))
    config["grid"] |= {"tasks": ["defect"], "students": ["bigru-1.5m"], "methods": ["ft", "kd", "dist"]}
    config["students"] = {"bigru-1.5m": {"training": {"learning_rate": 1e-3}}}
    (tmp_path / "corpus").symlink_to(ROOT / "config" / "corpus")
    path = tmp_path / "explained.yaml"
    path.write_text(yaml.safe_dump(config))
    arguments = ["explain", "--config", str(path), "--results", str(results)]
    text = CliRunner().invoke(app, arguments)
    chosen = CliRunner().invoke(app, [*arguments, "--json", "students/defect/none"])
    assert text.exit_code == 0, text.output
    assert "training.learning_rate: 0.002 -> 0.001\n  3 to make, about 3 min of one core:\n" in text.stdout
    assert text.stdout.splitlines()[-1] == "4 nodes would run, about 4 min of one core."
    [one] = json.loads(chosen.stdout)
    assert one["node"] == "students/defect/none/bigru-1.5m/ft/seed1" and one["seconds"] == 60
    assert one["changes"] == [{"what": "training.learning_rate", "old": 0.002, "new": 0.001}]
