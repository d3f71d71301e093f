"""The tables that answer the paper's questions, against the same numbers taken from the cells by hand."""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from synthetic_study import TASKS, make, write_study
from test_report import EXCEPTION, table, text_of

from codekd.analysis.findings import best_methods
from codekd.analysis.numbers import percent
from codekd.analysis.questions import PAIRS
from codekd.analysis.tables import best_students, comparable, ranks
from codekd.study.job import Job

STUDENTS = {"roberta-1.5m": 1_410_000, "bigru-1.5m": 1_530_000, "bigru-7m": 7_060_000}


@pytest.fixture(scope="module")
def two_teachers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, Path]:
    root = tmp_path_factory.mktemp("results")
    job = write_study(root, EXCEPTION, teachers=("minilm", "coder"), students=STUDENTS)
    return job, make(job, root)


def mean(folder: Path, **cell: str) -> float:
    return float(table(folder, "cells").filter(**cell)["test_accuracy"].mean())  # type: ignore[arg-type]


def test_methods_are_compared_with_each_other_on_the_students_that_have_both(tmp_path: Path) -> None:
    job = write_study(tmp_path, EXCEPTION, methods={"ft": 0.0, "kd": 0.03, "dist": 0.03, "ckd": 0.15})
    left_out = ["exception", "minilm", "bigru-1.5m", "dist"]
    job.spec["cells"][:] = [cell for cell in job.spec["cells"] if cell[:-1] != left_out]  # type: ignore[index]
    folder = make(job, tmp_path)
    rows = table(folder, "pairs")
    assert rows.select("method", "other", "students").rows() == [
        ("kd", "dist", 1),
        ("kd", "ckd", 2),
        ("dist", "ckd", 1),
    ]
    for row in rows.iter_rows(named=True):
        both = ("roberta-1.5m", "bigru-1.5m")[: row["students"]]
        each = [
            mean(folder, student=one, method=row["method"]) - mean(folder, student=one, method=row["other"])
            for one in both
        ]
        assert row["difference"] == pytest.approx(np.mean(each))
        assert row["difference_low"] < row["difference"] < row["difference_high"]
        assert row["p_value"] <= row["p_corrected"] <= 3 * row["p_value"]
    assert rows["p_corrected"].to_list() != rows["p_value"].to_list()
    assert "exception: ckd, of these methods the best on the validation split, is better than" in text_of(folder)


def test_the_best_method_is_seen_from_its_own_side() -> None:
    sure, unsure = {"p_value": 0.001, "p_corrected": 0.01}, {"p_value": 0.2, "p_corrected": 0.4}
    shared = {"task": "clone", "teacher": "minilm", "students": 1}

    def pair(method: str, other: str, difference: float, p: dict[str, float]) -> dict[str, object]:
        ends = {"difference_low": difference - 0.01, "difference_high": difference + 0.02}
        return shared | {"method": method, "other": other, "difference": difference} | ends | p

    pairs = [
        pair("a", "b", -0.05, sure),
        pair("b", "c", -0.03, sure),
        pair("b", "d", 0.01, unsure),
        pair("a", "c", 9, sure),
    ]
    valid = {"a": 1, "b": 3, "c": 2, "d": 2, "ft": 4}
    cell = {"task": "clone", "teacher": "minilm", "student": "bigru"}
    scores = [cell | {"method": one, "valid_score": valid[one]} for one in valid]
    scores.append(cell | {"task": "other", "method": "a", "valid_score": 9})
    scores.append(cell | {"student": "roberta", "method": "a", "valid_score": 9})
    assert best_methods(pl.DataFrame(pairs, PAIRS), pl.DataFrame(scores)) == [
        "clone: b, of these methods the best on the validation split, is better than a (+5.0 [+3.0, +6.0] points); "
        "worse than c (\u22123.0 [\u22124.0, \u22121.0] points); not distinguishable at this size from d."
    ]


def test_controls_choose_no_students_and_methods_are_ranked_on_the_same_ones() -> None:
    """One student has a control more, another one a method less, and is not looked at."""
    valid = {"ft": 0.1, "kd": 0.2, "dist": 0.3, "smooth": 0.5}
    has = {"gru": ["ft", "kd", "dist", "smooth"], "conv": ["ft", "kd", "dist"], "small": ["ft", "kd", "smooth"]}
    scores = pl.DataFrame(
        {"task": task, "teacher": "minilm", "student": student, "method": method, "seeds": 3}
        | {"score": valid[method] * (9 if student == "conv" and method == "kd" else 1), "valid_score": valid[method]}
        for student, methods in has.items()
        for method in methods
        for task in ("clone", "defect", "exception")
    )
    assert set(comparable(scores, ["smooth"])["student"]) == {"gru", "conv"}
    assert set(comparable(scores)["student"]) == {"gru"}
    found = ranks(scores, ["smooth"])
    assert dict(found.select("method", "rank").iter_rows()) == {"kd": 1, "dist": 2, "ft": 3}
    assert ranks(scores)["method"].to_list() == ["smooth", "dist", "kd", "ft"]


def test_a_teacher_is_compared_by_its_students(two_teachers: tuple[Job, Path]) -> None:
    _, folder = two_teachers
    rows = table(folder, "teachers")
    assert rows["method"].to_list() == ["all", "kd", "ckd"]
    for method, counted in (("kd", ["kd"]), ("all", ["kd", "ckd"])):
        row = rows.filter(method=method).row(0, named=True)
        each = [
            mean(folder, teacher="minilm", student=student, method=one)
            - mean(folder, teacher="coder", student=student, method=one)
            for student in STUDENTS
            for one in counted
        ]
        assert row["difference"] == pytest.approx(np.mean(each))
        assert row["difference_low"] < row["difference"] < row["difference_high"]
    assert "p_value" not in rows.columns, "each teacher was trained once"
    teachers = table(folder, "references").filter(kind="teacher")["score"].to_list()
    assert list(rows.select("teacher_score", "other_score").row(0)) == teachers
    assert "exception: students of minilm are" in text_of(folder)


def test_architectures_of_one_size_are_compared_in_score_and_in_gain(two_teachers: tuple[Job, Path]) -> None:
    _, folder = two_teachers
    rows = table(folder, "architectures").filter(teacher="coder")
    assert set(rows.select("student", "other").rows()) == {("roberta-1.5m", "bigru-1.5m")}

    def difference(method: str) -> float:
        teacher = "none" if method == "ft" else "coder"
        first, second = (mean(folder, teacher=teacher, student=one, method=method) for one in list(STUDENTS)[:2])
        return first - second

    plain, kd, ckd = map(difference, ("ft", "kd", "ckd"))
    found = {row["method"]: row for row in rows.iter_rows(named=True)}
    assert found["ft"]["difference"] == pytest.approx(plain)
    assert found["ft"]["gain"] is None
    assert found["kd"]["gain"] == pytest.approx(kd - plain)
    assert found["all"]["difference"] == pytest.approx((kd + ckd) / 2)
    assert found["all"]["gain"] == pytest.approx((kd + ckd) / 2 - plain)
    assert found["all"]["gain_p_corrected"] >= found["all"]["gain_p_value"]


def test_the_teacher_online_costs_what_its_capture_took_an_example(tmp_path: Path) -> None:
    job = write_study(tmp_path, EXCEPTION)
    for role, folder in job.parents.items():
        if role.startswith("students/"):
            metrics = json.loads((folder / "metrics.json").read_text())
            joules = 5e3 if "/ft/" in role else 7e3
            (folder / "metrics.json").write_text(json.dumps(metrics | {"joules": joules}))
    captured = tmp_path / "signals" / "exception" / "minilm" / "logits-0123456789ab"
    captured.mkdir(parents=True)
    for split, count in (("train", 60), ("test", 20)):
        pl.DataFrame({"id": range(count)}).write_parquet(captured / f"{split}-00000.parquet")
    made = json.loads((job.parents["teachers/exception/minilm"] / "manifest.json").read_text())
    (captured / "manifest.json").write_text(json.dumps(made | {"seconds": 9.0, "cpu_seconds": 4.0}))
    job.parents["signals/exception/minilm/logits"] = captured  # type: ignore[index]
    folder = make(job, tmp_path)
    row = table(folder, "costs").filter(student="bigru-1.5m", method="kd").row(0, named=True)
    score = table(folder, "scores").filter(student="bigru-1.5m", method="kd").row(0, named=True)
    assert row["online_seconds"] == pytest.approx(score["seconds"] + 54_000 * 4.0 / 80)
    assert row["online_relative"] == pytest.approx(row["online_seconds"] * row["relative"] / row["seconds"])
    assert row["relative_joules"] == pytest.approx(1.4)
    assert row["capture_seconds"] == 4.0
    assert "In energy, a whole training takes 1.40× what ft does" in text_of(folder)
    assert table(folder, "costs").filter(method="ft")["online_seconds"].null_count() == 2


def test_an_ensemble_costs_online_what_the_capture_of_all_members_took(tmp_path: Path) -> None:
    job = write_study(tmp_path, EXCEPTION)
    made = json.loads((job.parents["teachers/exception/minilm"] / "manifest.json").read_text())
    for number, member in enumerate(("", "/members/one", "/members/two")):
        captured = tmp_path / "signals" / "exception" / f"part{number}" / "logits-0123456789ab"
        captured.mkdir(parents=True)
        pl.DataFrame({"id": range(50)}).write_parquet(captured / "train-00000.parquet")
        (captured / "manifest.json").write_text(json.dumps(made | {"seconds": 9.0, "cpu_seconds": 10.0**number}))
        job.parents[f"signals/exception/minilm/logits{member}"] = captured  # type: ignore[index]
    folder = make(job, tmp_path)
    row = table(folder, "costs").filter(student="bigru-1.5m", method="kd").row(0, named=True)
    assert row["capture_seconds"] == pytest.approx(111)
    assert row["online_seconds"] == pytest.approx(row["seconds"] + 54_000 * 111 / 50)
    captured = job.parents["signals/exception/minilm/logits/members/two"]
    other = made | {"summary": {"device": "NVIDIA", "precision": "float32"}, "seconds": 9.0, "cpu_seconds": 3.0}
    (captured / "manifest.json").write_text(json.dumps(other))
    shutil.rmtree(folder.parent)
    unknown = table(make(job, tmp_path), "costs")
    assert unknown["capture_seconds"].null_count() == len(unknown), "one of them was counted on another clock"


def test_controls_are_no_ways_to_distil(tmp_path: Path) -> None:
    methods = {"ft": 0.0, "kd": 0.03, "smooth": 0.2, "kd-shuffled": -0.2}
    controls = {"smooth": False, "kd-shuffled": True}
    job = write_study(
        tmp_path, EXCEPTION, teachers=("minilm", "coder"), students=STUDENTS, methods=methods, controls=controls
    )
    for teacher in ("minilm", "coder"):
        captured = tmp_path / "signals" / "exception" / teacher / "logits-0123456789ab"
        captured.mkdir(parents=True)
        pl.DataFrame({"id": range(50)}).write_parquet(captured / "train-00000.parquet")
        made = json.loads((job.parents["teachers/exception/minilm"] / "manifest.json").read_text())
        (captured / "manifest.json").write_text(json.dumps(made | {"seconds": 9.0, "cpu_seconds": 4.0}))
        job.parents[f"signals/exception/{teacher}/logits"] = captured  # type: ignore[index]
    folder = make(job, tmp_path)
    for name in ("teachers", "architectures"):
        rows = table(folder, name)
        of_all, of_kd = (rows.filter(method=method)["difference"].to_list() for method in ("all", "kd"))
        assert of_all == pytest.approx(of_kd) and of_all, name
    online = table(folder, "costs").drop_nulls("online_seconds")["method"].unique().sort().to_list()
    assert online == ["kd", "kd-shuffled"], "without a teacher there is none in a step"
    behaviour, scores = table(folder, "behaviour"), table(folder, "scores")
    best = best_students(scores)["exception"]
    agreement = behaviour.filter(method="kd", student=best, teacher="minilm")["agreement"][0]
    assert f"agrees with minilm on {percent(agreement)} %" in text_of(folder)
    assert {"smooth", "kd-shuffled"} < {*scores["method"]}


def test_a_start_is_paid_once_with_the_capture_for_it(tmp_path: Path) -> None:
    job = write_study(tmp_path, EXCEPTION)
    made = json.loads((job.parents["teachers/exception/minilm"] / "manifest.json").read_text())
    for role, seconds in (("", 30.0), ("/signals/last", 12.0)):
        folder = tmp_path / "starts" / f"a{len(role)}"
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(json.dumps(made | {"cpu_seconds": seconds}))
        job.parents[f"starts/exception/bigru-1.5m{role}"] = folder  # type: ignore[index]
    costs = table(make(job, tmp_path), "costs")
    assert set(costs.filter(student="bigru-1.5m")["start_seconds"]) == {42.0}
    assert set(costs.filter(pl.col("student") != "bigru-1.5m")["start_seconds"]) == {None}


def test_published_scores_stand_beside_those_on_the_same_data(tmp_path: Path) -> None:
    tasks = {"defects": TASKS["defect"] | {"kind": "devign"}, "exception": TASKS["exception"]}
    students = {"roberta-7m": 7_060_000, "mine": 7_000_000}
    folder = make(write_study(tmp_path, tasks, teachers=("unixcoder", "other"), students=students), tmp_path)
    rows = table(folder, "published")
    found = {(row["task"], row["student"], row["method"]): row["published"] for row in rows.iter_rows(named=True)}
    assert found == {
        ("defects", "roberta-7m", "ft"): pytest.approx(0.6065),
        ("defects", "roberta-7m", "kd"): pytest.approx(0.6326),
        ("defects", "roberta-7m", "ckd"): pytest.approx(0.6344),
        ("defects", "", "teacher"): pytest.approx(0.6523),
    }
    assert set(rows["teacher"]) == {"unixcoder"}
    assert "read off a figure" in text_of(folder)
