"""Floors: what counting tokens reaches."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from data_stages import SPLIT, code_columns, run_stage
from test_sequences import write_examples

from codekd.analysis.floors import Cosine, Ngrams, near_hole, ngrams
from codekd.data.rows import Fixed
from codekd.data.splits import SPLITS, TRANSFER
from codekd.data.tasks import clone, defect, exception
from codekd.signals.format import shard_name, write_shard

pytest_plugins = ["data_fixtures"]


@pytest.mark.parametrize("task", [exception, defect, clone], ids=lambda task: task.__name__)
def test_the_floor_of_a_real_task_is_written_and_the_same_every_time(
    task: object, corpora: dict[str, Path], tmp_path: Path
) -> None:
    config = task.Config()  # type: ignore[attr-defined]
    parents = {f"corpus/{name}": path for name, path in corpora.items()}
    run_stage("codekd.data.examples", tmp_path / "x", {"task": {"kind": config.kind}, "split": SPLIT}, parents)
    spec = {"metric": config.metric, "classes": config.classes, "columns": config.columns, "has_hole": config.has_hole}
    for name in ("first", "again"):
        run_stage("codekd.analysis.floors", tmp_path / name, spec, {"examples": tmp_path / "x"})
    metrics, again = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("first", "again"))
    assert metrics == again
    predictions = pl.read_parquet(tmp_path / "first" / "predictions.parquet")
    assert predictions.schema == {"id": pl.String, "label": pl.Int32, "prediction": pl.Int32}
    test = pl.read_parquet(tmp_path / "x" / "test.parquet")
    assert predictions.select("id", "label").equals(test.select("id", "label"))
    right = (predictions["label"] == predictions["prediction"]).mean()
    assert metrics["scores"]["test"]["accuracy"] == pytest.approx(right)
    assert ("f1" in metrics["scores"]["valid"]) == (len(config.classes) == 2)
    majority = test["label"].value_counts()["count"].max() / len(test)  # type: ignore[operator]
    assert metrics["metric"] == config.metric and right > majority - 0.1


def test_tokens_before_and_after_the_hole_are_counted_apart() -> None:
    code = " ".join(f"b{n}" for n in range(50)) + " __HOLE__ " + " ".join(f"a{n}" for n in range(50))
    found = near_hole(code, longest=1)
    assert found == [f"< b{n}" for n in range(10, 50)] + [f"> a{n}" for n in range(20)]
    assert ngrams("f(x)", longest=2) == ["f", "(", "x", ")", "f (", "( x", "x )"]


def test_the_threshold_of_pairs_comes_from_valid_alone() -> None:
    same, half, other = ("a b c d", "a b c d"), ("a b c d", "a b x y"), ("a b c d", "p q r s")

    def frame(*rows: tuple[tuple[str, str], int]) -> pl.DataFrame:
        return pl.DataFrame(
            [(*pair, label) for pair, label in rows], schema=["code_a", "code_b", "label"], orient="row"
        )

    train = frame((same, 1), (half, 0), (other, 0))
    test = frame((same, 0), (half, 1), (other, 1))
    strict = Cosine.fit(train, frame((same, 1), (half, 0), (other, 0)))
    loose = Cosine.fit(train, frame((same, 1), (half, 1), (other, 0)))
    never = Cosine.fit(train, frame((same, 0), (half, 0), (other, 0)))
    assert strict.margins(test).argmax(1).tolist() == [1, 0, 0]
    assert loose.margins(test).argmax(1).tolist() == [1, 1, 0]
    assert never.margins(test).argmax(1).tolist() == [0, 0, 0]
    assert loose.margins(test.head(0)).shape == (0, 2)


@pytest.mark.parametrize("classes", [2, 4])
def test_margins_have_the_predictions_of_the_machine_and_unseen_classes_come_last(classes: int) -> None:
    code = code_columns(["code"], 60)["code"]
    train = pl.DataFrame({"code": code, "label": [row % classes for row in range(60)]})
    floor = Ngrams.fit(train, classes + 1, has_hole=False)
    assert floor.model is not None
    naive = floor.model.predict(floor.vectorizer.transform(code))
    margins = floor.margins(train)
    assert margins.shape == (60, classes + 1) and margins.argmax(1).tolist() == naive.tolist()
    assert (margins[:, classes] < margins[:, :classes].min(1)).all()
    one_a_class = 1 if classes == 2 else classes
    assert floor.parameters == len(floor.vectorizer.idf_) * (1 + one_a_class) + one_a_class


def test_where_all_examples_have_one_label_it_is_the_prediction() -> None:
    train = pl.DataFrame({"code": code_columns(["code"], 9)["code"], "label": [2] * 9})
    assert Ngrams.fit(train, 4, has_hole=False).margins(train).argmax(1).tolist() == [2] * 9


def test_a_taught_floor_learns_what_the_teacher_says_and_no_label(tmp_path: Path) -> None:
    code, count = code_columns(["code"], 40), 40
    (tmp_path / "examples").mkdir()
    write_examples(tmp_path / "examples", code)
    (tmp_path / "logits").mkdir()
    said = [number % 3 for number in range(count)]
    for split in TRANSFER:
        ids = [f"{split}{row}" for row in range(count)]
        logits = np.eye(3, dtype=np.float32)[said]
        order = np.random.default_rng(0).permutation(count)
        write_shard(
            tmp_path / "logits" / shard_name(split, 0), "logits", [ids[row] for row in order], Fixed(logits[order])
        )
    spec = {"metric": "accuracy", "classes": ["a", "b", "c"], "columns": ["code"], "has_hole": False}
    parents = {"examples": tmp_path / "examples", "signals/logits": tmp_path / "logits"}
    run_stage("codekd.analysis.taught", tmp_path / "taught", spec, parents)
    found = pl.read_parquet(tmp_path / "taught" / "predictions.parquet")["prediction"].to_list()

    both = pl.DataFrame({"code": code["code"] * 2, "label": said * 2})
    naive = Ngrams.fit(both, 3, has_hole=False)
    assert naive.model is not None
    assert found == naive.model.predict(naive.vectorizer.transform(code["code"])).tolist()
    plain = run_stage("codekd.analysis.floors", tmp_path / "plain", spec, parents)
    assert plain["test"] != json.loads((tmp_path / "taught" / "metrics.json").read_text())["scores"]["test"]


def test_a_taught_threshold_agrees_with_the_teacher_on_the_transfer_set(tmp_path: Path) -> None:
    same, half, other = ("a b c d", "a b c d"), ("a b c d", "a b x y"), ("a b c d", "p q r s")
    (tmp_path / "examples").mkdir()
    (tmp_path / "logits").mkdir()
    pairs = [same, half, other, half]
    for split in SPLITS:
        # The labels call no pair alike; those of valid would put the threshold elsewhere.
        rows = {
            "id": [f"{split}{row}" for row in range(4)],
            "code_a": [a for a, _ in pairs],
            "code_b": [b for _, b in pairs],
        }
        labels = [-1] * 4 if split == "unlabeled" else [1, 0, 0, 0]
        frame = pl.DataFrame(rows | {"label": labels, "group": ["g"] * 4}, schema_overrides={"label": pl.Int32})
        frame.write_parquet(tmp_path / "examples" / f"{split}.parquet")
        logits = np.eye(2, dtype=np.float32)[[1, 1, 0, 1]]
        write_shard(tmp_path / "logits" / shard_name(split, 0), "logits", rows["id"], Fixed(logits))
    spec = {"metric": "f1", "classes": ["no", "yes"], "columns": ["code_a", "code_b"], "has_hole": False}
    parents = {"examples": tmp_path / "examples", "signals/logits": tmp_path / "logits"}
    for stage, expected in (("taught", [1, 1, 0, 1]), ("floors", [1, 0, 0, 0])):
        run_stage(f"codekd.analysis.{stage}", tmp_path / stage, spec, parents)
        assert pl.read_parquet(tmp_path / stage / "predictions.parquet")["prediction"].to_list() == expected
