"""Tables and figures of what serving costs, from what was measured in turns."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from synthetic_study import make, write_study
from test_report import EXCEPTION, table, text_of

from codekd.analysis import figures, serving
from codekd.study.job import Job

MILLISECONDS = {"minilm": 40.0, "bigru-1.5m": 8.0, "roberta-1.5m": 4.0}
BIGRU = "inference/exception/minilm/bigru-1.5m"


@pytest.fixture
def study(tmp_path: Path) -> Job:
    """Of one seed, measured on a busy machine."""
    return write_study(tmp_path, EXCEPTION, seeds=(1,), milliseconds=MILLISECONDS, busy=True)


def rewritten(job: Job, keep: Any = lambda row: True, **values: Any) -> None:
    """Put other values into what was measured with ``bigru-1.5m``."""
    path = job.parents[BIGRU] / "inference.json"
    found = json.loads(path.read_text())
    found["times"] = [row | values for row in found["times"] if keep(row)]
    path.write_text(json.dumps(found))


def test_a_teacher_has_the_times_of_when_the_machine_was_quiet(study: Job) -> None:
    rewritten(study, busy=False, milliseconds=33.0)
    found = serving.inference(study).filter(runtime="onnx", precision="float32", batch=1)
    told = {row["name"]: (row["milliseconds"], row["busy"]) for row in found.iter_rows(named=True)}
    assert told == {"minilm": (33.0, False), "bigru-1.5m": (33.0, False), "roberta-1.5m": (2.0, True)}


def test_what_is_compared_ran_in_the_same_runtime(study: Job, tmp_path: Path) -> None:
    """In PyTorch, where one of the models was not measured in ONNX."""
    rewritten(study, keep=lambda row: row["runtime"] == "pytorch")
    points = table(make(study, tmp_path), "pareto")
    assert set(points["runtime"]) == {"pytorch"}
    costs = points.unique("student").select("student", "milliseconds", "speed_up").rows()
    assert set(costs) == {("", 40.0, 1.0), ("bigru-1.5m", 8.0, 5.0), ("roberta-1.5m", 4.0, 10.0)}


def test_times_of_a_busy_machine_are_shown_to_be_that(study: Job, tmp_path: Path) -> None:
    folder = make(study, tmp_path)
    points = table(folder, "pareto")
    assert points["busy"].all()
    labels = [figures.pareto(points, cost).axes[0].get_xlabel() for cost in ("milliseconds", "megabytes")]
    assert labels == ["time for one example on one CPU thread,\nCPU time of a busy machine", "size of the file"]
    quiet = figures.pareto(points.with_columns(busy=pl.lit(False)), "milliseconds").axes[0]
    assert quiet.get_xlabel() == "time for one example on one CPU thread"
    text = text_of(folder)
    assert " busy " in text.split("teacher, ms Machine")[1]
    assert "Measured on a busy machine: these are milliseconds of CPU time." in text
    assert "on one CPU thread in ONNX, tokenizer included, 10× as fast as minilm (20.0 ms)" in text or (
        "on one CPU thread in ONNX, tokenizer included, 5.00× as fast as minilm (20.0 ms)" in text
    )
