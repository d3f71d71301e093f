"""What it takes to serve a model is that of the model that the study trains, whatever else the machine does."""

import json
import os
import time

import numpy as np
import polars as pl
import pytest
from data_stages import job_of
from test_export import STUDENTS, results_of

from codekd.data.batches import load_encoded
from codekd.data.encode import Encoding
from codekd.deploy import speed
from codekd.deploy.export import Cell
from codekd.deploy.timing import Times, ratio, spread, take_turns
from codekd.memory import peak_memory
from codekd.models.architectures.bigru import Config as BiGRU
from codekd.study.manifest import read_manifest

SHAPE = {"kind": "bigru", "vocabulary_size": 320, "max_length": 64, "layers": 2, "hidden": 24}
STUDENT = {"architecture": SHAPE, "classes": 3, "pooling": "final", "reuses_head": False}


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    return Cell.load(results_of(tmp_path_factory.mktemp("speed") / "results", "final or first", "bigru"))


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(speed, "ALONE", 8)
    monkeypatch.setattr(speed, "TOGETHER", 40)


def parents_of(cell, *, teacher=True):
    [examples] = (cell.encoded.parents[1].parent / "examples").iterdir()
    parents = {"examples": examples, "encoded": cell.encoded}
    return parents | ({"teacher": cell.folder, "teacher_encoded": cell.encoded} if teacher else {})


def measured(folder, parents, *specs):
    folders = [folder / str(number) for number in range(len(specs))]
    for one in folders:
        one.mkdir(parents=True)
    jobs = [job_of("codekd.deploy.speed", one, spec, parents) for one, spec in zip(folders, specs, strict=True)]
    found = speed.run(jobs, folders)
    assert found == [json.loads((one / "inference.json").read_text()) for one in folders]
    return found


def test_a_teacher_and_a_student_of_its_shape_take_the_same(cell, tmp_path):
    [found] = measured(tmp_path, parents_of(cell), STUDENT)
    student, teacher = (found["models"][name] for name in ("student", "teacher"))
    for name in ("parameters", "flops", "tokens"):
        assert student[name] == teacher[name]
    assert student["parameters"] == cell.model().num_parameters()
    assert student["parameters"] < 2 * BiGRU(**SHAPE).weights_per_token() + 320 * 24 * 4
    ways = [("pytorch", "float32"), ("onnx", "float32"), ("onnx", "int8")]
    keys = [(row["runtime"], row["precision"], row["batch"], row["model"]) for row in found["times"]]
    assert keys == [(*way, batch, model) for way in ways for batch in (1, 32) for model in ("teacher", "student")]
    for row in found["times"]:
        assert 0 < row["milliseconds_low"] <= row["milliseconds"] <= row["milliseconds_high"]
        assert row["tokenizer_milliseconds"] > 0 and row["model_milliseconds"] > 0
        assert 0.5 < row["speed_up"] < 2, "the same work is as fast, whatever the machine does beside"
    sizes = {(row["model"], row["precision"]): row["bytes"] for row in found["times"] if row["runtime"] == "onnx"}
    assert sizes["student", "float32"] == pytest.approx(4 * student["parameters"], rel=0.3)
    assert sizes["student", "int8"] < sizes["student", "float32"]


def test_code_is_read_as_in_training_and_anew_each_time(cell, monkeypatch):
    parents = parents_of(cell)
    texts = pl.read_parquet(parents["examples"] / "test.parquet")["code"].to_list()
    turns = speed.turns_of(parents["examples"], cell.encoded)
    assert [len(one) for one in turns[1]] == [1] * 8 and [len(one) for one in turns[32]] == [32, 8]
    asked = []
    ids_of = Encoding._ids
    monkeypatch.setattr(Encoding, "_ids", lambda self, code: asked.append(code) or ids_of(self, code))
    served = speed._served(cell.model, cell.encoded, turns, "one")
    data = load_encoded(cell.encoded, ["test"])
    for [[code]], batch in zip(turns[1], served.batches[1], strict=True):
        assert np.array_equal(batch, data.inputs(np.array([texts.index(code)])))
    before = len(asked)
    for _ in range(2):
        served.read(turns[32][1])
    assert len(asked) >= before + 2 * 8


def test_the_lexer_counts_as_a_tokenizer_does_and_a_pair_as_both_of_its_sides(tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "ALONE", 8)
    cell = Cell.load(results_of(tmp_path / "results", "pair", "lexical conv"))
    spec = {"classes": 3, "pooling": "pair", "architecture": STUDENTS["lexical conv"].settings(), "reuses_head": False}
    [found] = measured(tmp_path, parents_of(cell), spec)
    student = found["models"]["student"]
    assert student["without_onnx"] is None and student["parameters"] == cell.model().num_parameters()
    data = load_encoded(cell.encoded, ["test"])
    assert data.padded_lengths.min() <= student["tokens"] <= data.padded_lengths.max()
    assert {row["runtime"] for row in found["times"]} == {"pytorch", "onnx"}
    assert all(row["tokenizer_milliseconds"] > 0 for row in found["times"])


def test_a_teacher_becomes_onnx_once_for_all_its_students(cell, tmp_path, monkeypatch):
    written, write = [], speed.write_onnx
    monkeypatch.setattr(speed, "write_onnx", lambda model, *rest: (written.append(model), write(model, *rest)))
    measured(tmp_path, parents_of(cell), STUDENT, STUDENT | {"reuses_head": True})
    assert len(written) == 3


def test_a_student_with_its_teachers_head_is_larger_by_the_projection(cell, tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "onnx_is_installed", lambda: False)
    narrow = STUDENT | {"architecture": SHAPE | {"hidden": 8}}
    plain, reusing = measured(tmp_path, parents_of(cell), narrow, narrow | {"reuses_head": True})
    own, projection, teachers = (16 + 1) * 16 + (16 + 1) * 3, (16 + 1) * 48, (48 + 1) * 48 + (48 + 1) * 3
    sizes = [one["models"]["student"]["parameters"] for one in (plain, reusing)]
    assert sizes[1] - sizes[0] == projection + teachers - own


@pytest.mark.parametrize("why", ["not installed", "refused"])
def test_without_onnx_pytorch_alone_is_measured_and_that_is_said(cell, tmp_path, monkeypatch, caplog, why):
    if why == "refused":
        monkeypatch.setattr(speed, "write_onnx", lambda *_: (_ for _ in ()).throw(ValueError("no such operator\nat")))
    else:
        monkeypatch.setattr(speed, "onnx_is_installed", lambda: False)
    [found] = measured(tmp_path, parents_of(cell, teacher=False), STUDENT)
    assert {row["runtime"] for row in found["times"]} == {"pytorch"}
    assert all(row["speed_up"] is None and row["teacher_milliseconds"] is None for row in found["times"])
    reason = {"not installed": "are not installed", "refused": "ONNX: ValueError: no such operator"}[why]
    assert reason in found["models"]["student"]["without_onnx"] and "is measured in PyTorch alone" in caplog.text


def test_operations_are_those_of_the_matrix_products(cell, tmp_path, monkeypatch):
    """Of a GRU: three gates, two directions, two layers, of inputs and states; and the head."""
    monkeypatch.setattr(speed, "onnx_is_installed", lambda: False)
    [found] = measured(tmp_path, parents_of(cell), STUDENT)
    gates = 2 * 3 * (24 * 24 + 24 * 24) + 2 * 3 * (48 * 24 + 24 * 24)
    head = 48 * 48 + 48 * 3
    teacher = found["models"]["teacher"]
    assert teacher["flops"] == pytest.approx(2 * (gates * teacher["tokens"] + head), rel=0.01)


def test_load_changes_milliseconds_and_no_ratio_and_is_flagged():
    """A thread that waits for a core twice as long as it has one, in two of three turns."""
    drawn = np.random.default_rng(0)
    cpu = np.outer(drawn.uniform(1, 3, 48), [0.0005, 0.03, 0.0004, 0.004]).reshape(48, 2, 2)
    waiting = 1 + 2 * (drawn.random(cpu.shape) < 2 / 3)
    counts = np.full(48, 1)
    quiet = speed.numbers(Times(1.02 * cpu, cpu), counts, on_cpu=True)
    loaded = speed.numbers(Times(waiting * cpu, cpu), counts, on_cpu=True)
    assert [one["busy"] for one in quiet] == [False, False] and [one["busy"] for one in loaded] == [True, True]
    assert quiet[1]["speed_up"] == loaded[1]["speed_up"] == pytest.approx(0.0305 / 0.0044)
    assert loaded[1]["milliseconds"] > 1.5 * quiet[1]["milliseconds"]
    assert loaded[1]["cpu_milliseconds"] == quiet[1]["cpu_milliseconds"]
    assert quiet[0]["speed_up"] == 1 and quiet[1]["teacher_milliseconds"] == quiet[0]["milliseconds"]
    on_gpu = speed.numbers(Times(1.02 * cpu, cpu / 9), counts, on_cpu=False)
    assert on_gpu[1]["speed_up"] == quiet[1]["speed_up"] and on_gpu[1]["busy"] is None


def test_works_are_done_in_turns_and_waiting_is_no_cpu_time():
    done = []
    works = [
        [lambda turn: done.append(("a", turn))],
        [lambda turn: done.append(("b", turn)), lambda turn: time.sleep(0.02)],
    ]
    times = take_turns(works[1:], 3, warm=1)
    assert done == [("b", turn) for turn in (0, 0, 1, 2)]
    assert times.wall.shape == times.cpu.shape == (3, 1, 2) and times.busy
    assert (
        (times.wall[:, :, 1] >= 0.02).all() and (times.cpu[:, :, 1] < 0.02).all() and times.wall[:, :, 0].max() < 0.01
    )
    works[1].pop()
    done.clear()
    assert take_turns(works, 3, in_a_row=2, warm=1).wall.shape == (3, 2, 1)
    assert "".join(name + str(turn) for name, turn in done) == "a0b0" + "a0a1b0b1" + "a2b2"
    assert len(take_turns(works, 5, in_a_row=2, longest=0, fewest=3).wall) == 4
    assert ratio(np.array([2.0, 2.0, 90.0]), np.array([1.0, 1.0, 1.0])) == 2


def test_the_peak_of_memory_has_what_was_used_before_too():
    last = []
    for _ in range(3):
        with peak_memory() as peak:
            pieces = [bytearray(10_000) for _ in range(5_000)]
            last.append(pieces[-1])  # above all that is given back
            del pieces
        assert peak[0] == 0 or 45e6 < peak[0] < 60e6
    assert (peak[0] > 0) == os.access("/proc/self/clear_refs", os.W_OK)


def test_examples_are_of_all_lengths(cell):
    assert read_manifest(cell.encoded)["spec"]["columns"] == ["code"]
    lengths = load_encoded(cell.encoded, ["test"]).lengths
    rows = spread(lengths, 10)
    assert len(set(rows)) == 10
    assert {lengths[rows].min(), lengths[rows].max()} == {lengths.min(), lengths.max()}
    assert np.array_equal(rows, spread(lengths, 10)) and len(spread(lengths, 10_000)) == len(lengths)
