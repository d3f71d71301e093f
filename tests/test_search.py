"""A search tries settings on a seed of its own, chooses by validation score, and renames no more than it must."""

import copy
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from data_stages import run_stage
from test_sequences import write_examples

from codekd.errors import CodekdError
from codekd.models.architectures.bigru import Config as BiGRU
from codekd.study.graph import Graph
from codekd.study.resolve import load_study
from codekd.study.search import Candidate
from codekd.study.training import Training

PATH = Path(__file__).parents[1] / "config" / "config.yaml"
LEARNING_RATES = {"training": {"learning_rate": [3e-4, 1e-3]}}


def graph(search: dict[str, Any], **grid: Any) -> Graph:
    config = copy.deepcopy(yaml.safe_load(PATH.read_text()))
    config["grid"] |= {"tasks": ["defect"], "students": ["bigru-1.5m"], "methods": ["ft", "kd"], **grid}
    return Graph(load_study(config | {"search": search}, [PATH]))


def made(graph: Graph, before: Graph) -> set[str]:
    """Coordinates of the nodes of one graph that another has not."""
    return {name.rpartition("-")[0] for name in set(graph.by_folder) - set(before.by_folder)}


def trials(graph: Graph) -> list[str]:
    return sorted("/".join(node.coordinates[3:]) for node in graph.stage("trials"))


def test_every_combination_is_tried_for_every_student_and_method() -> None:
    found = graph(LEARNING_RATES | {"methods": {"kd": {"temperature": [2, 4, 8.0]}}, "seed": 9}, seeds=[1, 2])
    assert trials(found) == sorted(
        ["ft/learning_rate-0.0003-seed9", "ft/learning_rate-0.001-seed9"]
        + [f"kd/learning_rate-{lr}-temperature-{t}-seed9" for lr in ("0.0003", "0.001") for t in (2, 4, 8.0)]
    )
    assert len(found.stage("selected")) == 2
    for node in found.stage("students"):
        assert node.parents["selected"].coordinates == node.coordinates[:4]
    assert all("test" not in json.dumps(node.spec) for node in found.stage("trials"))


def test_without_a_search_or_with_one_value_nothing_is_tried() -> None:
    assert not graph({}).stage("trials")
    one = graph({"students": {"bigru-1.5m": {"learning_rate": [2e-4]}}})
    assert not one.stage("trials")
    assert {node.spec["training"]["learning_rate"] for node in one.stage("students")} == {2e-4}


def test_another_value_makes_its_trials_the_choice_and_the_cells() -> None:
    before = graph(LEARNING_RATES)
    after = graph({"training": {"learning_rate": [3e-4, 1e-3, 3e-3]}})
    cells = {
        f"students/defect/{teacher}/bigru-1.5m/{method}/seed1" for teacher, method in (("none", "ft"), ("minilm", "kd"))
    }
    assert made(after, before) == {
        "trials/defect/none/bigru-1.5m/ft/learning_rate-0.003-seed0",
        "trials/defect/minilm/bigru-1.5m/kd/learning_rate-0.003-seed0",
        "selected/defect/none/bigru-1.5m/ft",
        "selected/defect/minilm/bigru-1.5m/kd",
        *cells,
        "report/embedded",
    }
    assert not made(graph({"training": {"learning_rate": [0.0003, 1e-3]}}), before), "the same numbers"
    assert trials(graph({"training": {"learning_rate": [3e-4, 0.0003, 1e-3]}})) == trials(before)


def test_another_seed_of_the_study_tries_nothing_again() -> None:
    added = made(graph(LEARNING_RATES, seeds=[1, 2]), graph(LEARNING_RATES))
    assert {name.split("/")[0] for name in added} == {"students", "report"}


def test_candidates_with_long_names_or_odd_letters_are_all_tried() -> None:
    """Names that would be cut to the same letters, or written with the same ones, are nodes of their own."""
    weights = [{f"class_{number}": 1.0 for number in range(8)} | {"class_7": last} for last in (1.0, 2.0, 3.0)]
    none = Training(epochs=1, learning_rate=1.0)
    found = [Candidate({"training.class_weights": one}, none, None).name for one in weights]
    found += [Candidate({"method.kind": name}, none, None).name for name in ("a b", "a:b", "a_b")]
    assert len(set(found)) == 6 and max(map(len, found)) < 80
    assert Candidate({}, none, None).name == "default"


@pytest.mark.parametrize(
    ("search", "problem"),
    [
        ({"methods": {"kd": {"temprature": [2]}}}, "search: method.temprature: Extra inputs"),
        ({"training": {"learning_rate": [1e-4, -1]}}, "search: training.learning_rate: Input should be greater than 0"),
        ({"methods": {"kdd": {"temperature": [2]}}}, "there is no 'kdd'; did you mean 'kd'"),
        ({"methods": {"kd": {"temperature": []}}}, "at least 1 item"),
        ({"methods": {"ckd": {"window": [5, 10]}}}, "a search cannot choose what is captured"),
    ],
)
def test_values_that_cannot_be_tried_are_refused(search: dict[str, Any], problem: str) -> None:
    with pytest.raises(CodekdError, match=problem):
        graph(search, methods=["kd", "ckd"])


def test_the_best_on_validation_is_chosen_and_the_cells_are_trained_with_it(tmp_path: Path) -> None:
    code = [f"def f{row}(x):\n    return x {'+*'[row % 2]} {row}\n" for row in range(40)]
    (tmp_path / "examples").mkdir()
    write_examples(tmp_path / "examples", {"code": code})
    # A trial that read the test split would fail.
    bpe = {"size": 320, "columns": {"t": ["code"]}}
    run_stage("codekd.data.bpe", tmp_path / "tokenizer", bpe, {"examples/t": tmp_path / "examples"})
    spec = {"max_length": 48, "prefix": [], "classes": ["no", "yes"], "columns": ["code"], "has_hole": False}
    parents = {"examples": tmp_path / "examples", "tokenizer": tmp_path / "tokenizer"}
    run_stage("codekd.data.encode", tmp_path / "encoded", spec, parents)
    test = (tmp_path / "encoded" / "test.parquet").read_bytes()
    (tmp_path / "encoded" / "test.parquet").unlink()

    architecture = BiGRU(kind="bigru", layers=1, hidden=10, vocabulary_size=320, max_length=48)
    spec = {
        "method": {"kind": "ft"},
        "architecture": architecture.model_dump(),
        "classes": 2,
        "metric": "accuracy",
        "pooling": "final",
        "seed": 1,
    }
    rates = {"slow": 1e-6, "fast": 2e-2}
    for name, rate in rates.items():
        (tmp_path / "scratch" / name).mkdir(parents=True)
        training = {"training": {"epochs": 4, "learning_rate": rate}}
        run_stage("codekd.training.trial", tmp_path / name, spec | training, {"encoded": tmp_path / "encoded"})
        assert {path.name for path in (tmp_path / name).iterdir()} == {"metrics.json"}

    candidates = [{"name": name, "settings": {"training.learning_rate": rate}} for name, rate in rates.items()]
    trials = {f"trials/{name}": tmp_path / name for name in rates}
    choice = run_stage(
        "codekd.training.selected", tmp_path / "selected", {"metric": "accuracy", "candidates": candidates}, trials
    )
    scores = [candidate["valid"] for candidate in choice["candidates"]]
    assert choice["chosen"] == {"training.learning_rate": 2e-2} and scores[1] > scores[0]

    (tmp_path / "encoded" / "test.parquet").write_bytes(test)
    losses = {}
    for name, parents in (("chosen", {"selected": tmp_path / "selected"}), ("plain", {})):
        (tmp_path / "scratch" / name).mkdir()
        training = {"training": {"epochs": 2, "learning_rate": 1e-6}}
        run_stage(
            "codekd.training.student", tmp_path / name, spec | training, {"encoded": tmp_path / "encoded", **parents}
        )
        losses[name] = pl.read_parquet(tmp_path / name / "history.parquet")["loss"][-1]
    assert losses["chosen"] < losses["plain"] - 0.005


def test_of_equals_the_first_in_the_config_is_chosen(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.json").write_text(json.dumps({"scores": {"valid": {"f1": 0.5}}}))
    candidates = [{"name": name, "settings": {"training.epochs": epochs}} for name, epochs in (("b", 2), ("a", 1))]
    spec = {"metric": "f1", "candidates": candidates}
    parents = {f"trials/{name}": tmp_path / name for name in ("a", "b")}
    assert run_stage("codekd.training.selected", tmp_path / "out", spec, parents)["chosen"] == {"training.epochs": 2}
