"""The student to deploy, from the report of a study with made-up predictions."""

import json
import re
from collections.abc import Callable
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
METHODS = {"ft": 0.0, "kd": 0.03, "simkd": 0.045}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("results")
    return make(write_study(root, EXCEPTION, milliseconds=MILLISECONDS), root)


def changed(report: Path, folder: Path, name: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Path:
    """A report with the same tables, one of them changed."""
    (folder / "tables").mkdir()
    for path in (report / "tables").glob("*.parquet"):
        table = pl.read_parquet(path)
        (change(table) if path.stem == name else table).write_parquet(folder / "tables" / path.name)
    return folder


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


def test_how_it_stands_against_n_grams_is_said(report: Path) -> None:
    [found] = recommend(report, Limits())
    assert re.search(r" % on the test split, [+−]\d+\.\d \[.*\] points against n-grams, ", found.why)


def test_without_any_time_the_fastest_is_nearest(report: Path) -> None:
    [found] = recommend(report, Limits(0.0))
    assert "The nearest, roberta-1.5m with " in found.why


@pytest.mark.parametrize(
    ("limits", "student"), [(Limits(3.0), "roberta-1.5m"), (Limits(megabytes=5.0), "roberta-1.5m")]
)
def test_limits_of_time_and_size_leave_out_what_breaks_them(report: Path, limits: Limits, student: str) -> None:
    [found] = recommend(report, limits)
    best = ranked(report, student)[0]
    assert found.why.startswith(f"{best[0]} with {best[1]}: ") and "3 students within the limits, of 6" in found.why


def test_time_is_that_of_what_is_exported_and_eight_bits_are_named_beside_it(report: Path) -> None:
    """In PyTorch ``bigru-1.5m`` takes 20 ms, and 10 in ONNX."""
    [found] = recommend(report, Limits(10.0))
    assert "of 6 students within the limits" in found.why
    assert re.search(r"(2.0 ms \(1.0|10.0 ms \(5.0) in eight bits\) in ONNX, ", found.why)


def test_what_is_kept_is_judged_on_the_validation_split_and_said_of_both(report: Path, tmp_path: Path) -> None:
    def kept(scores: pl.DataFrame) -> pl.DataFrame:
        best_on_test = pl.col("retention") == pl.col("retention").max()
        return scores.with_columns(valid_retention=pl.when(best_on_test).then(0.5).otherwise(0.9))

    [found] = recommend(changed(report, tmp_path, "scores", kept), Limits(retention=0.8))
    assert "5 students within the limits, of 6" in found.why
    assert re.search(
        r", 90.0 % of the score of minilm on the validation split and \d\d.\d % on the test split", found.why
    )


def test_where_nobody_is_good_enough_the_nearest_is_named(report: Path) -> None:
    done = CliRunner().invoke(app, ["recommend", str(report), "--min-retention", "99", "--max-latency-ms", "10"])
    assert done.exit_code == 1
    assert "exception: no student is within the limits. The nearest" in done.output
    assert "% of the score on the validation split is less than 99.0" in done.output


def test_nearest_is_what_exceeds_its_limits_by_the_smallest_share(report: Path, tmp_path: Path) -> None:
    """One limit broken by far is further away than two broken by a little."""

    def costs(pareto: pl.DataFrame) -> pl.DataFrame:
        recurrent = pl.col("student") == "bigru-1.5m"
        return pareto.with_columns(
            milliseconds=pl.when(recurrent).then(10.5).otherwise(1.0),
            megabytes=pl.when(recurrent).then(20.5).otherwise(400.0),
        )

    [found] = recommend(changed(report, tmp_path, "pareto", costs), Limits(10.0, 20.0))
    assert "The nearest, bigru-1.5m with " in found.why
    assert "10.5 ms is more than 10; 20.5 MB is more than 20" in found.why


def test_a_student_with_its_teachers_head_is_measured_with_it(tmp_path: Path) -> None:
    written = write_study(tmp_path, EXCEPTION, methods=METHODS, milliseconds=MILLISECONDS, reuse_head=["simkd"])
    report = make(written, tmp_path)
    costs = pl.read_parquet(report / "tables" / "pareto.parquet").filter(student="roberta-1.5m")
    assert dict(costs.select("method", "megabytes").rows()) == {"ft": 4.0, "kd": 4.0, "simkd": 8.0}
    [found] = recommend(report, Limits(megabytes=4.0))
    assert found.why.startswith("roberta-1.5m with kd: ") and "2 students within the limits, of 6" in found.why


def test_one_seed_and_a_busy_machine_are_said(report: Path, tmp_path: Path) -> None:
    [sure] = recommend(report, Limits())
    assert "busy" not in sure.why and "one seed" not in sure.why
    written = write_study(tmp_path, EXCEPTION, seeds=(1,), milliseconds=MILLISECONDS, busy=True)
    one = make(written, tmp_path)
    [found] = recommend(one, Limits())
    assert " in ONNX, CPU time of a busy machine, " in found.why
    assert "Trained with one seed: with another, other students may be the best." in found.why
    assert "The machine was busy when 6 of the 6 were measured" in next(iter(recommend(one, Limits(0.1)))).why
    assert "Measured on a busy machine" in (one / "index.html").read_text()


def test_without_onnx_the_times_are_those_of_pytorch(tmp_path: Path) -> None:
    report = make(write_study(tmp_path, EXCEPTION, milliseconds=MILLISECONDS, in_onnx=False), tmp_path)
    [found] = recommend(report, Limits(4.0))
    assert "4.0 ms in PyTorch, 4.0 MB" in found.why and "In ONNX, which is what is exported, not all were" in found.why
    page = (report / "index.html").read_text()
    assert "Measured in PyTorch alone: exception/minilm, exception/roberta-1.5m, exception/bigru-1.5m. onnx" in page


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
