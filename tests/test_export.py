"""A model leaves PyTorch with the same logits, whatever its family, its pooling, and the length of what it reads."""

import json
import shutil

import numpy as np
import polars as pl
import pytest
import torch
from data_stages import code_columns, make_node
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from typer.testing import CliRunner

from codekd.cli import app
from codekd.data.batches import load_encoded
from codekd.data.hole import HOLE
from codekd.data.splits import SPLITS
from codekd.deploy import export as exporting
from codekd.deploy.export import MODEL, SETTINGS, SMALL, Cell, session
from codekd.errors import CodekdError
from codekd.models.architectures.bigru import Config as BiGRU
from codekd.models.architectures.roberta import Config as RoBERTa
from codekd.study.graph import Node

LABELS = dict.fromkeys(SPLITS, pl.int_range(40).cast(pl.Int32) % 3) | {"unlabeled": pl.lit(-1, pl.Int32)}
ENTRY = ("codekd.errors",)
STUDENTS = {
    "roberta": RoBERTa(kind="roberta", vocabulary_size=320, max_length=64, layers=2, hidden=32, heads=4),
    "bigru": BiGRU(kind="bigru", vocabulary_size=320, max_length=64, layers=2, hidden=24),
}
READS = {"final or first": ["code"], "hole": ["code"], "pair": ["code_a", "code_b"]}


def results_of(folder, pooling, family, kind="table"):
    """A student with random weights, made as a study makes it: its folder."""
    columns, student = READS[pooling], STUDENTS[family]

    def write_examples(job, out):
        for split in SPLITS:
            code = code_columns(columns, 40)
            if pooling == "hole":
                code = {"code": [f"{one[: 9 * row]} {HOLE} {one[9 * row :]}" for row, one in enumerate(code["code"])]}
            frame = pl.DataFrame(code).with_columns(
                id=pl.int_range(40).cast(pl.String), label=LABELS[split], group=pl.lit("g")
            )
            frame.write_parquet(out / f"{split}.parquet")
        return {}

    def save(job, out):
        torch.manual_seed(0)
        vocabulary = load_encoded(job.parents["encoded"], ["valid"]).vocabulary
        how = student.pooling_for("code") if pooling == "final or first" else pooling
        model = student.build(vocabulary, 3, how)
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(4 if weight.dim() > 1 else 1)
        model.save_pretrained(out)
        return {}

    examples = Node("examples", ("task",), {"task": {"kind": kind}}, ENTRY)
    make_node(folder, examples, write_examples)
    spec = {"size": student.vocabulary_size, "columns": {"task": columns}}
    tokenizer = Node("tokenizers", ("task", "320"), spec, ("codekd.data.bpe",), {"examples/task": examples})
    make_node(folder, tokenizer)
    spec = {
        "max_length": 48,
        "prefix": [],
        "classes": ["a", "b", "c"],
        "columns": columns,
        "has_hole": pooling == "hole",
    }
    parents = {"examples": examples, "tokenizer": tokenizer}
    encoded = Node("encoded", ("task", "bpe"), spec, ("codekd.data.encode",), parents)
    make_node(folder, encoded)
    return make_node(folder, Node("students", ("task", family), {}, ENTRY, {"encoded": encoded}), save)


@pytest.mark.parametrize("pooling", READS)
@pytest.mark.parametrize("family", STUDENTS)
def test_onnx_has_the_logits_of_pytorch_for_any_number_and_length(pooling, family, tmp_path):
    folder = results_of(tmp_path / "results", pooling, family)
    done = CliRunner().invoke(app, ["export", str(folder), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "logits as PyTorch's within" in done.output

    cell = Cell.load(folder)
    model, data = (
        AutoModelForSequenceClassification.from_pretrained(folder).eval(),
        load_encoded(cell.encoded, ["test"]),
    )
    run = session(tmp_path / "out" / MODEL)
    order = np.argsort(data.lengths)
    for rows in (order[:1], order[-1:], order[:7], order):
        batch = data.batch(rows, torch.device("cpu"))
        with torch.inference_mode():
            expected = model(batch.input_ids, batch.attention_mask, batch.token_type_ids).logits
        assert expected.std() > 1e-3
        np.testing.assert_allclose(run(batch), expected, atol=1e-4)

    about = json.loads((tmp_path / "out" / SETTINGS).read_text())
    assert about["classes"] == ["a", "b", "c"] and about["columns"] == READS[pooling] and about["max_length"] == 48
    assert about["measured"]["int8_kept"] == (tmp_path / "out" / SMALL).exists()
    assert len(AutoTokenizer.from_pretrained(tmp_path / "out")) == len(AutoTokenizer.from_pretrained(cell.encoded))


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    return results_of(tmp_path_factory.mktemp("export") / "results", "final or first", "bigru")


def test_an_export_that_differs_is_refused_and_leaves_what_was_there(student, tmp_path, monkeypatch):
    (tmp_path / MODEL).write_text("the one before")
    monkeypatch.setattr(exporting, "TOLERANCE", -1.0)
    with pytest.raises(CodekdError, match="gives logits that differ from PyTorch's by up to"):
        exporting.export(Cell.load(student), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [MODEL]
    assert (tmp_path / MODEL).read_text() == "the one before"


@pytest.mark.parametrize(("outlier", "kept"), [(1.0, True), (500.0, False)])
def test_eight_bits_that_are_fast_and_wrong_are_not_kept(student, tmp_path, monkeypatch, outlier, kept):
    """One weight far from all others makes the steps of eight bits so wide that most become zero."""
    monkeypatch.setattr(exporting, "FASTER", float("inf"))
    monkeypatch.setattr(exporting, "AGREEMENT", 0.9)  # untrained, it is torn between classes
    cell = Cell.load(student)
    model = cell.model()
    with torch.no_grad():
        model.head.dense.weight[0, 0] *= outlier
    measured = exporting.convert(model, load_encoded(cell.encoded, ["valid"]), tmp_path)
    assert measured["int8_faster"] and measured["largest_difference"] < 1e-3
    assert (measured["int8_agreement"] >= 0.9) == kept == (tmp_path / SMALL).exists()
    assert measured["int8_kept"] == kept and (SMALL in measured["megabytes"]) == kept


def test_what_is_no_model_or_is_damaged_is_named(student, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(student.parents[2], results)
    [encoded] = (results / "encoded" / "task").iterdir()
    with pytest.raises(CodekdError, match="is of the stage 'encoded'; give the folder of a student"):
        Cell.load(encoded)
    [copy] = (results / "students" / "task").iterdir()
    (copy / "model.safetensors").write_bytes(b"x")
    with pytest.raises(CodekdError, match=r"model\.safetensors is not what was written there"):
        Cell.load(copy)
    shutil.rmtree(encoded)
    with pytest.raises(CodekdError, match="has no node with the identity"):
        Cell.load(copy)
