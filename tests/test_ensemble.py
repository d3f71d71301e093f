"""Ensembles of teachers, made from what is captured of their members."""

import copy
import importlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from data_stages import SPLIT, code_columns, job_of, run_signals, run_stage
from scipy.optimize import minimize
from scipy.special import softmax
from test_sequences import write_examples

from codekd.data.batches import load_encoded
from codekd.data.rows import Fixed
from codekd.data.splits import SPLITS
from codekd.data.tasks import clone, defect, exception
from codekd.errors import CodekdError
from codekd.signals import logits
from codekd.signals.calibration import LARGEST, log_probabilities, scale_of
from codekd.signals.ensemble import Pool, best_weights
from codekd.signals.format import read_shard, read_signal, shard_name, write_shard
from codekd.study import estimate, sizes
from codekd.study.graph import Graph
from codekd.study.resolve import load_study

pytest_plugins = ["data_fixtures"]

PATH = Path(__file__).parents[1] / "tests" / "grid.yaml"
CLASSES = ["a", "b", "c"]
COUNT = 40
MEMBERS = {"one": 3.0, "two": 0.2}
"""What the logits of the members are multiplied by, after which neither is as sure as it ought to be."""


def drawn(examples: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits that know something, and labels."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(classes, size=examples)
    return generator.normal(size=(examples, classes)) + 1.5 * np.eye(classes)[labels], labels


def cross_entropy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    return -sum(math.log(row[label]) for row, label in zip(probabilities, labels, strict=True)) / len(labels)


# Formulas


def test_the_factor_has_the_least_cross_entropy() -> None:
    rows, labels = drawn(200, 4)
    for times in (0.1, 1.0, 30.0):
        found = scale_of(times * rows, labels)
        best = min(
            np.geomspace(0.01, 100, 4001), key=lambda scale: cross_entropy(softmax(scale * rows, axis=1), labels)
        )
        assert found * times == pytest.approx(best, rel=3e-3)


def test_the_factor_is_finite_where_all_is_right_or_wrong_and_one_without_labels() -> None:
    rows, labels = np.eye(3), np.arange(3)
    assert 10 < scale_of(rows, labels) < 1.01 * LARGEST
    assert scale_of(rows, (labels + 1) % 3) == pytest.approx(1 / LARGEST, rel=1e-2)
    assert scale_of(rows, np.full(3, -1)) == 1.0
    more, known = np.concatenate([rows, [[5.0, 0, 0]]]), np.array([0, 1, 2, -1])
    assert scale_of(more, known) == scale_of(rows, labels), "what has no label has no say"


def test_the_mean_is_that_of_probabilities() -> None:
    first, second = drawn(5, 3, seed=1)[0], drawn(5, 3, seed=2)[0]
    pool = Pool({"one": 2.0, "two": 0.5}, {"one": 0.7, "two": 0.3})
    found = pool.logits({"two": second, "one": first})
    for row in range(5):
        parts = []
        for values, scale in ((first[row], 2.0), (second[row], 0.5)):
            exponents = [math.exp(scale * value) for value in values]
            parts.append([one / sum(exponents) for one in exponents])
        naive = [math.log(0.7 * a + 0.3 * b) for a, b in zip(*parts, strict=True)]
        assert found[row].tolist() == pytest.approx(naive, rel=1e-12)


def test_the_mean_of_what_is_impossible_for_one_is_not_impossible() -> None:
    pool = Pool({"one": 1.0, "two": 1.0}, {"one": 0.5, "two": 0.5})
    sure, unsure = np.array([[0.0, -1e4]]), np.array([[0.0, 0.0]])
    assert pool.logits({"one": sure, "two": unsure})[0, 1] == pytest.approx(math.log(0.25))


@pytest.mark.parametrize("members", [2, 3])
def test_weights_have_the_least_cross_entropy(members: int) -> None:
    labels = drawn(300, 4)[1]
    generator = np.random.default_rng(5)
    rows = [generator.normal(size=(300, 4)) + (0.3 + number) * np.eye(4)[labels] for number in range(members)]
    members_log = np.stack([log_probabilities(one, 1.0) for one in rows])
    found = best_weights(members_log, labels)
    assert found.sum() == pytest.approx(1) and (found >= 0).all()

    def loss(free: np.ndarray) -> float:
        return cross_entropy(np.tensordot(softmax(free), np.exp(members_log), 1), labels)

    best = minimize(loss, np.zeros(members), method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9}).fun
    assert loss(np.log(found + 1e-12)) == pytest.approx(best, abs=1e-5)
    assert best_weights(members_log, np.full(300, -1)).tolist() == [1 / members] * members


# Stages


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Encoded functions of this project, and the logits of two made-up members."""
    folder = tmp_path_factory.mktemp("ensemble")
    (folder / "examples").mkdir()
    write_examples(folder / "examples", code_columns(["code"], COUNT))
    run_stage(
        "codekd.data.bpe",
        folder / "tokenizer",
        {"size": 300, "columns": {"task": ["code"]}},
        {"examples/task": folder / "examples"},
    )
    spec = {"max_length": 48, "prefix": [], "classes": CLASSES, "columns": ["code"], "has_hole": False}
    parents = {"examples": folder / "examples", "tokenizer": folder / "tokenizer"}
    run_stage("codekd.data.encode", folder / "encoded", spec, parents)
    made = {"encoded": folder / "encoded"}
    for number, (name, times) in enumerate(MEMBERS.items()):
        (folder / name).mkdir()
        (folder / f"model-{name}").mkdir()
        metrics = {"parameters": 10**number, "train_seconds": 2.5, "train_cpu_seconds": 3.0}
        (folder / f"model-{name}" / "metrics.json").write_text(json.dumps(metrics))
        for split in SPLITS:
            data = load_encoded(folder / "encoded", [split])
            generator = np.random.default_rng([number, len(split)])
            rows = generator.normal(size=(COUNT, 3)) + (number + 1) * np.eye(3)[data.labels]
            write_shard(folder / name / shard_name(split, 0), "logits", data.ids, Fixed((times * rows).astype("f4")))
        made |= {f"members/{name}": folder / name, f"models/{name}": folder / f"model-{name}"}
    return made


def spec_of(weights: Any = None) -> dict[str, Any]:
    return {"by": "ensemble", "members": [*MEMBERS], "weights": weights, "classes": CLASSES}


@pytest.mark.parametrize("weights", [None, [1.0, 3.0], "validation"])
def test_what_is_captured_is_the_mean_of_members_and_verified(
    weights: Any, made: dict[str, Path], tmp_path: Path
) -> None:
    spec = spec_of(weights)
    run_signals("codekd.signals.capture", {tmp_path / "logits": logits.Config()}, made, spec)
    pool = Pool.fit(job_of("x", tmp_path / "logits", spec, made))
    expected = {"one": 0.25, "two": 0.75} if weights == [1.0, 3.0] else {"one": 0.5, "two": 0.5}
    if weights == "validation":
        assert pool.weights["two"] > 0.5, "it knows more"
    else:
        assert pool.weights == expected
    assert pool.scales["one"] * 3.0 < pool.scales["two"], "the surer one is toned down"
    for split in SPLITS:
        data = load_encoded(made["encoded"], [split])
        found = read_signal(tmp_path / "logits", [split], "logits", data.ids).values
        members = {name: read_signal(made[f"members/{name}"], [split], "logits", data.ids).values for name in MEMBERS}
        naive = sum(
            pool.weights[name] * softmax(pool.scales[name] * rows.astype(float), axis=1)
            for name, rows in members.items()
        )
        assert np.allclose(np.exp(found), naive, atol=1e-6)

    captured = {**spec, "signal": {"kind": "logits"}}
    verify = importlib.import_module("codekd.signals.verify").run
    job = job_of("signals", tmp_path / "logits", captured, {**made, "signal": tmp_path / "logits"})
    [summary] = verify([job], [tmp_path])
    assert summary["difference"] == 0
    path = tmp_path / "logits" / shard_name("valid", 0)
    ids, rows = read_shard(path, "logits")
    write_shard(path, "logits", ids, Fixed(rows.values[:, ::-1]))
    with pytest.raises(CodekdError, match="differ from what the teacher gives"):
        verify([job], [tmp_path])


def test_neither_factors_nor_weights_depend_on_the_test_split(made: dict[str, Path], tmp_path: Path) -> None:
    before = Pool.fit(job_of("x", tmp_path / "a", spec_of("validation"), made))
    (tmp_path / "one").mkdir()
    for split in SPLITS:
        ids, rows = read_shard(made["members/one"] / shard_name(split, 0), "logits")
        values = rows.values if split == "valid" else -rows.values
        write_shard(tmp_path / "one" / shard_name(split, 0), "logits", ids, Fixed(values))
    assert (
        Pool.fit(job_of("x", tmp_path / "a", spec_of("validation"), {**made, "members/one": tmp_path / "one"}))
        == before
    )


def test_the_score_of_an_ensemble_is_that_of_its_logits_and_its_size_that_of_all(
    made: dict[str, Path], tmp_path: Path
) -> None:
    run_signals("codekd.signals.capture", {tmp_path / "logits": logits.Config()}, made, spec_of())
    spec = {"classes": 3, "metric": "accuracy", "members": [*MEMBERS], "weights": None}
    run_stage("codekd.training.ensemble", tmp_path / "teacher", spec, {**made, "signals/logits": tmp_path / "logits"})
    metrics = json.loads((tmp_path / "teacher" / "metrics.json").read_text())
    predictions = pl.read_parquet(tmp_path / "teacher" / "predictions.parquet")
    test = load_encoded(made["encoded"], ["test"])
    found = read_signal(tmp_path / "logits", ["test"], "logits", test.ids).values
    assert predictions["id"].to_list() == test.ids
    assert predictions["prediction"].to_list() == found.argmax(1).tolist()
    assert metrics["scores"]["test"]["accuracy"] == pytest.approx((found.argmax(1) == test.labels).mean())
    assert metrics["parameters"] == 11 and metrics["train_cpu_seconds"] == 6
    assert metrics["members"]["two"]["weight"] == 0.5


@pytest.mark.parametrize("task", [exception, defect, clone], ids=lambda task: task.__name__)
def test_the_floor_gives_log_probabilities_with_its_own_predictions(
    task: Any, corpora: dict[str, Path], tmp_path: Path
) -> None:
    config = task.Config(examples={"train": 300, "valid": 100, "test": 100, "unlabeled": 50})
    parents = {f"corpus/{name}": path for name, path in corpora.items()}
    run_stage("codekd.data.examples", tmp_path / "x", {"task": config.spec(), "split": SPLIT}, parents)
    spec = {"classes": list(config.classes), "columns": list(config.columns), "has_hole": config.has_hole}
    parents = {"examples": tmp_path / "x"}
    run_stage("codekd.analysis.floors", tmp_path / "floor", {**spec, "metric": config.metric}, parents)
    spec |= {"by": "ngrams", "signal": {"kind": "logits"}}
    run_signals("codekd.signals.capture", {tmp_path / "logits": logits.Config()}, parents, spec)
    predictions = pl.read_parquet(tmp_path / "floor" / "predictions.parquet")
    found = read_signal(tmp_path / "logits", ["test"], "logits", predictions["id"].to_list()).values
    assert found.argmax(1).tolist() == predictions["prediction"].to_list()
    assert np.allclose(np.exp(found).sum(1), 1, atol=1e-5)
    for split in SPLITS:
        ids = pl.read_parquet(tmp_path / "x" / f"{split}.parquet")["id"].to_list()
        if ids:
            assert len(read_signal(tmp_path / "logits", [split], "logits", ids).values) == len(ids)
    valid = pl.read_parquet(tmp_path / "x" / "valid.parquet")
    rows = read_signal(tmp_path / "logits", ["valid"], "logits", valid["id"].to_list()).values
    assert scale_of(rows, valid["label"].to_numpy()) == pytest.approx(1, rel=1e-2), "fitted on valid, it is calibrated"
    job = job_of("signals", tmp_path / "logits", spec, {**parents, "signal": tmp_path / "logits"})
    [summary] = importlib.import_module("codekd.signals.verify").run([job], [tmp_path])
    assert summary["difference"] < 1e-5


# The graph


def study_of(**teachers: Any) -> dict[str, Any]:
    config = copy.deepcopy(yaml.safe_load(PATH.read_text()))
    config |= {"teachers": teachers, "taught_floor": False}
    config["grid"] |= {"teachers": ["minilm", *teachers], "methods": ["ft", "kd"]}
    return config


def graph_of(config: dict[str, Any]) -> Graph:
    return Graph(load_study(config, [PATH]))


def paths(config: dict[str, Any]) -> set[str]:
    return {node.path for node in graph_of(config)}


BOTH = {"kind": "ensemble", "members": ["minilm", "minilm-code", "floor"]}


def test_an_ensemble_adds_what_its_members_lack_and_renames_nothing() -> None:
    before, after = graph_of(study_of()), graph_of(study_of(both=BOTH))
    gone = set(before.by_folder) - set(after.by_folder)
    assert {folder.split("/")[0] for folder in gone} == {"report"}
    new = {after.by_folder[folder].path for folder in set(after.by_folder) - set(before.by_folder)}
    expected = {"report/embedded", "pretrained/minilm-code", "adapted/minilm-code"}
    for task, length in {"exception": 80, "clone": 96, "defect": 96}.items():
        expected |= {f"encoded/{task}/minilm-code-{length}"}
        expected |= {f"teachers/{task}/minilm-code", f"teachers/{task}/both"}
        expected |= {f"signals/{task}/{name}/logits" for name in ("minilm-code", "floor", "both")}
        expected |= {f"verified/{task}/{name}/logits" for name in ("minilm-code", "floor", "both")}
        expected |= {f"students/{task}/both/{student}/kd/seed1" for student in ("roberta-1.5m", "bigru-1.5m")}
        expected |= {f"inference/{task}/none/{student}" for student in ("roberta-1.5m", "bigru-1.5m")}
    assert new == expected, "students of an ensemble are measured alone"


def test_no_student_of_an_ensemble_runs_before_its_members_are_verified() -> None:
    graph = graph_of(study_of(both=BOTH))
    for node in graph.stage("students"):
        if node.coordinates[1] == "both":
            checks = node.parents["verified/logits"].parents
            found = {role: one.path for role, one in checks.items() if role.startswith("verified/")}
            task = node.coordinates[0]
            assert found == {f"verified/members/{one}": f"verified/{task}/{one}/logits" for one in BOTH["members"]}


def test_each_member_and_weight_counts_for_the_identity_of_what_depends_on_it() -> None:
    def folders(**settings: Any) -> set[str]:
        return set(graph_of(study_of(both=BOTH | settings)).by_folder)

    def stages(found: set[str]) -> set[str]:
        return {f"{folder.split('/')[0]}" for folder in found}

    before = folders()
    for settings in ({"weights": [1, 1, 2]}, {"weights": "validation"}, {"members": ["minilm", "floor"]}):
        changed = before - folders(**settings)
        assert {"signals", "teachers", "students", "report"} <= stages(changed)
        assert all("/both" in folder or "report" in folder or "minilm-code" in folder for folder in changed)
    assert folders(weights=None) == before


def test_a_seed_is_another_teacher_and_the_default_one_is_as_it_was() -> None:
    config = study_of(again={"preset": "minilm", "seed": 2}, same={"preset": "minilm", "seed": 1})
    by_path = {node.path: node for node in graph_of(config)}
    first, again, same = (by_path[f"teachers/defect/{name}"] for name in ("minilm", "again", "same"))
    assert (first.spec["seed"], again.spec["seed"]) == (1, 2)
    assert first.spec == same.spec and first.spec == again.spec | {"seed": 1}


def test_what_is_planned_of_an_ensemble_has_a_size_and_a_time(tmp_path: Path) -> None:
    config = study_of(both=BOTH)
    graph = Graph(load_study(config, [PATH]), tmp_path)
    by_path = {node.path: node for node in graph}
    one, floor, both = (by_path[f"signals/exception/{name}/logits"] for name in ("minilm", "floor", "both"))
    assert (
        sizes.signal_bytes(one, tmp_path) == sizes.signal_bytes(both, tmp_path) == sizes.signal_bytes(floor, tmp_path)
    )
    assert sizes.signal_examples(floor, tmp_path) == sizes.signal_examples(one, tmp_path)
    assert estimate.seconds(both, tmp_path) < estimate.seconds(floor, tmp_path) < 15 < estimate.seconds(one, tmp_path)
    assert estimate.seconds(by_path["teachers/exception/both"], tmp_path) <= estimate.START
    assert estimate.flops(floor, tmp_path) == estimate.flops(both, tmp_path) == 0


@pytest.mark.parametrize(
    ("teachers", "message"),
    [
        ({"both": BOTH | {"members": ["minilm", "minlim"]}}, r"teachers.both.members.1.*minlim.*minilm"),
        ({"both": BOTH | {"members": ["minilm", "flor"]}}, r"flor.*floor"),
        ({"both": BOTH | {"members": ["minilm", "minilm"]}}, "minilm is a member twice"),
        ({"both": BOTH | {"members": ["minilm"]}}, "members"),
        (
            {"both": BOTH | {"weights": [1, 2]}},
            "`weights` must be 3 numbers, one for each of minilm, minilm-code, floor",
        ),
        ({"both": BOTH | {"weights": [1, 2, 0]}}, "weights"),
        ({"both": BOTH, "all-of": {"kind": "ensemble", "members": ["both", "minilm"]}}, "both is an ensemble itself"),
        ({"both": BOTH | {"members": ["both", "minilm"]}}, "both is an ensemble itself"),
        ({"both": BOTH | {"training": {"epochs": 2}}}, "both.training: teachers of kind ensemble are not trained"),
        (
            {"both": BOTH | {"by_task": {"clone": {"epochs": 2}}}},
            "both.by_task: teachers of kind ensemble are not trained: remove it",
        ),
        ({"both": BOTH | {"max_length": 20}}, "max_length"),
    ],
)
def test_what_makes_no_ensemble_is_refused(teachers: dict[str, Any], message: str) -> None:
    with pytest.raises(CodekdError, match=message):
        graph_of(study_of(**teachers))


def test_a_method_that_needs_states_of_an_ensemble_is_refused() -> None:
    config = study_of(both=BOTH)
    config["grid"]["methods"] = ["pkd"]
    with pytest.raises(CodekdError, match=r"pkd for .* from both.*needs logits, pooled, and this teacher gives logits"):
        graph_of(config)


# The taught floor


def test_a_taught_floor_is_made_for_every_teacher_and_renames_nothing_but_the_report() -> None:
    config = study_of(both=BOTH)
    before, after = graph_of(config), graph_of(config | {"taught_floor": True})
    new = {after.by_folder[folder].path for folder in set(after.by_folder) - set(before.by_folder)}
    tasks = ("exception", "clone", "defect")
    assert new == {"report/embedded", *(f"floors/{task}/{name}" for task in tasks for name in ("minilm", "both"))}
    for node in after.stage("floors"):
        if len(node.coordinates) == 2:
            assert node.parents["verified/logits"].parents["signal"] is node.parents["signals/logits"]
            assert node.parents["signals/logits"].path == "signals/{}/{}/logits".format(*node.coordinates)


def test_controls_are_named_to_the_report_where_there_are_some() -> None:
    config = study_of()
    assert "controls" not in graph_of(config).report.spec
    config["grid"]["methods"] = ["ft", "ft-long", "smooth", "pseudo", "kd-shuffled", "kd"]
    graph = graph_of(config)
    assert graph.report.spec["controls"] == ["ft-long", "smooth", "kd-shuffled"]
    without = {node.coordinates[3] for node in graph.stage("students") if node.coordinates[1] == "none"}
    assert without == {"ft", "ft-long", "smooth"}
