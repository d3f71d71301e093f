"""Floors: what counting tokens reaches."""

import json
from pathlib import Path

import polars as pl
import pytest
from data_stages import SPLIT, run_stage

from codekd.analysis.floors import near_hole, ngrams, pair_floor
from codekd.data.tasks import clone, defect, exception

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
    strict = pair_floor({"train": train, "valid": frame((same, 1), (half, 0), (other, 0)), "test": test})
    loose = pair_floor({"train": train, "valid": frame((same, 1), (half, 1), (other, 0)), "test": test})
    assert strict["test"].tolist() == [1, 0, 0]
    assert loose["test"].tolist() == [1, 1, 0]
