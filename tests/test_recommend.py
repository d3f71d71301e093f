"""The student to deploy, from the report of a study with made-up predictions."""

import json
from pathlib import Path

import polars as pl
import pytest
from synthetic_study import make, write_study
from test_report import EXCEPTION
from typer.testing import CliRunner

from codekd.cli import app
from codekd.deploy.recommend import Limits, recommend
from codekd.errors import CodekdError

MILLISECONDS = {"minilm": 40.0, "bigru-1.5m": 20.0, "roberta-1.5m": 4.0}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("results")
    return make(write_study(root, EXCEPTION, milliseconds=MILLISECONDS), root)


def ranked(report: Path, *students: str) -> list[tuple[str, str]]:
    """Students and methods by their scores on the validation split."""
    scores = pl.read_parquet(report / "tables" / "scores.parquet").filter(pl.col("student").is_in(students))
    return scores.sort("valid_score", descending=True).select("student", "method").rows()


def test_the_best_on_the_validation_split_is_named_with_its_folder(report: Path) -> None:
    [found] = recommend(report, Limits())
    student, method = ranked(report, "bigru-1.5m", "roberta-1.5m")[0]
    assert found.why.startswith(f"{student} with {method}: ")
    cells = pl.read_parquet(report / "tables" / "cells.parquet").filter(student=student, method=method)
    seed = cells.sort("valid_score", descending=True)["seed"][0]
    assert found.cell is not None and (found.cell / "metrics.json").exists()
    assert f"/{student}/{method}/seed{seed}-" in str(found.cell)


@pytest.mark.parametrize(
    ("limits", "student"), [(Limits(3.0), "roberta-1.5m"), (Limits(megabytes=5.0), "roberta-1.5m")]
)
def test_limits_of_time_and_size_leave_out_what_breaks_them(report: Path, limits: Limits, student: str) -> None:
    [found] = recommend(report, limits)
    best = ranked(report, student)[0]
    assert found.why.startswith(f"{best[0]} with {best[1]}: ") and "3 students within the limits, of 6" in found.why


def test_where_nobody_is_good_enough_the_nearest_is_named(report: Path) -> None:
    done = CliRunner().invoke(app, ["recommend", str(report), "--min-retention", "99", "--max-latency-ms", "10"])
    assert done.exit_code == 1
    assert "exception: no student is within the limits. The nearest" in done.output
    assert "% of the score is less than 99.0" in done.output


def test_programs_get_json(report: Path) -> None:
    done = CliRunner().invoke(app, ["recommend", str(report), "--json"])
    [found] = json.loads(done.output)
    assert found["task"] == "exception" and Path(found["cell"]).is_dir() and done.exit_code == 0


def test_without_measured_times_there_is_no_advice(tmp_path: Path) -> None:
    report = make(write_study(tmp_path, EXCEPTION), tmp_path)
    with pytest.raises(CodekdError, match="set `inference: true`"):
        list(recommend(report, Limits()))
    with pytest.raises(CodekdError, match="no finished report"):
        list(recommend(tmp_path, Limits()))
