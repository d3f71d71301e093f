"""A model leaves PyTorch with the same logits, whatever its family, its pooling, and the length of what it reads."""

import json
import re
import shutil
import subprocess
import sys

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
from codekd.deploy.export import COMPARE, MODEL, SETTINGS, SMALL, Cell, export, session
from codekd.deploy.runtimes import onnx_comparison, torch_comparison, torch_run
from codekd.errors import CodekdError
from codekd.models.architectures.base import Architecture, Lexemes
from codekd.models.architectures.bigru import Config as BiGRU
from codekd.models.architectures.conv import Config as Conv
from codekd.models.architectures.roberta import Config as RoBERTa
from codekd.models.device import CPU
from codekd.models.inference import predict
from codekd.study.graph import Node

LABELS = dict.fromkeys(SPLITS, pl.int_range(40).cast(pl.Int32) % 3) | {"unlabeled": pl.lit(-1, pl.Int32)}
ENTRY = ("codekd.errors",)
LEXEMES = Lexemes(buckets=300, width=16)
STUDENTS: dict[str, Architecture] = {
    "roberta": RoBERTa(kind="roberta", vocabulary_size=320, max_length=64, layers=2, hidden=32, heads=4),
    "bigru": BiGRU(kind="bigru", vocabulary_size=320, max_length=64, layers=2, hidden=24),
    "conv": Conv(kind="conv", vocabulary_size=320, max_length=64, layers=2, hidden=24, head_width=20),
    "lexical roberta": RoBERTa(kind="roberta", lexemes=LEXEMES, layers=2, hidden=32, heads=4),
    "lexical bigru": BiGRU(kind="bigru", lexemes=LEXEMES, layers=2, hidden=24),
    "lexical conv": Conv(kind="conv", lexemes=LEXEMES, layers=2, attention=1, hidden=24, head_width=20, dropout=0.1),
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
    spec = {"max_length": 48, "classes": ["a", "b", "c"], "columns": columns, "has_hole": pooling == "hole"}
    if student.lexemes:
        spec |= {"language": "python"}
        encoded = Node("encoded", ("task", "lexemes"), spec, ("codekd.data.encode_lexemes",), {"examples": examples})
    else:
        size = {"size": student.vocabulary_size, "columns": {"task": columns}}
        tokenizer = Node("tokenizers", ("task", "320"), size, ("codekd.data.bpe",), {"examples/task": examples})
        make_node(folder, tokenizer)
        parents = {"examples": examples, "tokenizer": tokenizer}
        encoded = Node("encoded", ("task", "bpe"), spec | {"prefix": []}, ("codekd.data.encode",), parents)
    make_node(folder, encoded)
    return make_node(folder, Node("students", ("task", family), {"training": {}}, ENTRY, {"encoded": encoded}), save)


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
        inputs = data.inputs(rows)
        with torch.inference_mode():
            expected = model(*map(torch.from_numpy, inputs)).logits
        assert expected.std() > 1e-3
        np.testing.assert_allclose(run(inputs), expected, atol=3e-4)

    about = json.loads((tmp_path / "out" / SETTINGS).read_text())
    assert about["classes"] == ["a", "b", "c"] and about["columns"] == READS[pooling] and about["max_length"] == 48
    assert about["measured"]["int8_kept"] == (tmp_path / "out" / SMALL).exists()
    if STUDENTS[family].lexemes:
        assert about["language"] == "python" and "prefix" not in about
        assert (tmp_path / "out" / "lexer.json").read_text() == (cell.encoded / "lexer.json").read_text()
        assert not list((tmp_path / "out").glob("tokenizer*"))
    else:
        assert len(AutoTokenizer.from_pretrained(tmp_path / "out")) == len(AutoTokenizer.from_pretrained(cell.encoded))
    assert (tmp_path / "out" / COMPARE).exists() == bool(STUDENTS[family].lexemes and pooling == "pair")


@pytest.mark.parametrize("family", ["lexical roberta", "lexical bigru", "lexical conv"])
def test_the_halves_of_a_model_of_pairs_give_what_the_whole_gives(family, tmp_path):
    """In PyTorch and in ONNX, one function against many."""
    cell = Cell.load(results_of(tmp_path / "results", "pair", family))
    exporting.export(cell, tmp_path / "out")
    model, data = cell.model(), load_encoded(cell.encoded, ["test"])
    inputs = data.inputs(np.arange(6))
    whole = torch_run(model)(inputs)
    assert whole.std() > 1e-3
    for halves in (torch_comparison(model), onnx_comparison(tmp_path / "out" / MODEL, tmp_path / "out" / COMPARE)):
        vectors = halves.vectors(inputs)
        assert len(vectors) == 12
        pairs = [halves.compare(vectors[[2 * row]], vectors[[2 * row + 1]])[0] for row in range(6)]
        np.testing.assert_allclose(pairs, whole, atol=1e-4)
        many = halves.compare(vectors[[0]], vectors[1::2])
        assert many.shape == (6, 3)
        np.testing.assert_allclose(many[0], whole[0], atol=1e-4)


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
    with pytest.raises(CodekdError, match="is of the stage 'encoded' and no trained model; give the folder"):
        Cell.load(encoded)
    [copy] = (results / "students" / "task").iterdir()
    (copy / "model.safetensors").write_bytes(b"x")
    with pytest.raises(CodekdError, match=r"model\.safetensors is not what was written there"):
        Cell.load(copy)
    shutil.rmtree(encoded)
    with pytest.raises(CodekdError, match="has no node with the identity"):
        Cell.load(copy)


@pytest.mark.parametrize(
    ("pooling", "family"),
    [("final or first", "conv"), ("pair", "bigru"), ("hole", "roberta"), ("pair", "lexical conv")],
)
def test_the_lines_in_an_exports_readme_give_the_cells_label(pooling, family, tmp_path):
    """In a process of their own, which knows this package only where they import it."""
    cell, out = Cell.load(results_of(tmp_path / "results", pooling, family)), tmp_path / "out"
    export(cell, out)
    text = (out / "README.md").read_text()
    [lines] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert ("codekd" in lines) == (pooling == "hole" or family.startswith("lexical"))
    [examples] = (tmp_path / "results/examples").iterdir()
    frame, data = pl.read_parquet(examples / "test.parquet"), load_encoded(cell.encoded, ["test"])
    expected = ["abc"[one] for one in predict(cell.model(), data, CPU).argmax(1)]
    row = next(row for row in range(40) if expected[row] != expected[0])
    code = "".join(f"{name} = {frame[name][row]!r}\n" for name in cell.spec["columns"])
    script = code + lines.replace("FOLDER", str(out))
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert expected[row] in re.findall(r"\b[abc]\b", done.stdout)
    assert json.loads((out / "config.json").read_text())["id2label"] == {"0": "a", "1": "b", "2": "c"}
