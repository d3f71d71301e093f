"""What it takes to serve a model is that of the model that the study trains."""

import json
import os

import numpy as np
import pytest
from data_stages import job_of
from test_export import results_of

from codekd.data.batches import load_encoded
from codekd.deploy import speed
from codekd.deploy.export import Cell
from codekd.models.architectures.bigru import Config as BiGRU


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    return Cell.load(results_of(tmp_path_factory.mktemp("speed") / "results", "final or first", "bigru"))


def measured(folder, spec, parents):
    folder.mkdir()
    job = job_of("codekd.deploy.speed", folder, spec, parents)
    [summary] = speed.run([job], [folder])
    assert json.loads((folder / "inference.json").read_text()) == summary
    return summary


def test_a_teacher_and_a_student_of_its_shape_take_the_same(cell, tmp_path):
    shape = {"kind": "bigru", "vocabulary_size": 320, "max_length": 64, "layers": 2, "hidden": 24}
    as_student = {"architecture": shape, "classes": 3, "pooling": "final"}
    student = measured(tmp_path / "student", as_student, {"encoded": cell.encoded})
    teacher = measured(tmp_path / "teacher", {}, {"encoded": cell.encoded, "teacher": cell.folder})
    for name in ("parameters", "bytes", "flops", "tokens"):
        assert student[name] == teacher[name]
    assert student["parameters"] == cell.model().num_parameters() == student["bytes"] / 4
    assert student["parameters"] < 2 * BiGRU(**shape).weights_per_token() + 320 * 24 * 4
    times = student["times"]
    assert {one["threads"] for one in times} == {1, speed.cores()}
    assert all(0 < one["milliseconds"] <= one["milliseconds_95"] and one["examples_per_second"] > 0 for one in times)


def test_operations_are_those_of_the_matrix_products(cell, tmp_path):
    """Of a GRU: three gates, two directions, two layers, of inputs and states; and the head."""
    found = measured(tmp_path / "one", {}, {"encoded": cell.encoded, "teacher": cell.folder})
    gates = 2 * 3 * (24 * 24 + 24 * 24) + 2 * 3 * (48 * 24 + 24 * 24)
    head = 48 * 48 + 48 * 3
    assert found["flops"] == pytest.approx(2 * (gates * found["tokens"] + head), rel=0.01)


def test_the_peak_of_memory_has_what_was_used_before_too():
    last = []
    for _ in range(3):
        with speed.peak_memory() as peak:
            pieces = [bytearray(10_000) for _ in range(5_000)]
            last.append(pieces[-1])  # above all that is given back
            del pieces
        assert peak[0] == 0 or 45e6 < peak[0] < 60e6
    assert (peak[0] > 0) == os.access("/proc/self/clear_refs", os.W_OK)


def test_examples_are_of_all_lengths(cell):
    data = load_encoded(cell.encoded, ["test"])
    rows = speed.spread(data, 10)
    assert len(set(rows)) == 10
    assert {data.lengths[rows].min(), data.lengths[rows].max()} == {data.lengths.min(), data.lengths.max()}
    assert np.array_equal(rows, speed.spread(data, 10)) and len(speed.spread(data, 10_000)) == len(data)
