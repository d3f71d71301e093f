"""Functions are found in any source, shown as their task shows them, and labelled as the model labels its examples."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from test_export import results_of
from typer.testing import CliRunner

from codekd.cli import app
from codekd.data.batches import load_encoded
from codekd.data.hole import HOLE
from codekd.deploy import predict as predicting
from codekd.deploy.export import Cell
from codekd.deploy.predict import Labeller
from codekd.deploy.runtimes import SMALL
from codekd.deploy.sources import Function, functions_in, shown

PYTHON = """\
class A:
    @cached
    @property
    def é(self):
        '''Doc.'''
        def inner(): return 1
        try:
            return inner() - 1
        except (KeyError, x.Y) as e: pass
        except OSError:
            pass

async def later(): pass
def broken(:
"""
C = "#include <a.h>\nstatic char *copy(const char *s)\n{\n  return 0;\n}\nint (*pick(int a))(void) { return 0; }\n"
JAVA = (
    "class A {\n  A() { }\n  /** Doc. */\n  public int f(int a) { return new B() { int g() { return 1; } }.g(); }\n}\n"
)


def found(source, language):
    return [(one.name, one.line) for one in functions_in(source, language, "x")]


def test_functions_are_found_in_every_language_and_beside_errors():
    assert found(PYTHON, "python")[:3] == [("é", 2), ("inner", 6), ("later", 13)]
    assert found(C, "c") == [("copy", 2), ("pick", 6)]
    assert found(JAVA, "java") == [("A", 2), ("f", 4), ("g", 4)]
    assert found("", "python") == []


def test_code_is_at_the_left_margin_with_its_decorators():
    first, inner, _ = list(functions_in(PYTHON, "python", "x"))[:3]
    assert first.code.startswith("@cached\n@property\ndef é(self):\n    '''Doc.'''\n")
    assert inner.code == "def inner(): return 1"


def test_tasks_show_what_they_were_trained_on():
    function = next(functions_in(PYTHON, "python", "x"))
    first, second = shown(function, "exception")
    assert f"except {HOLE} as e: pass" in first.code and first.about == {"clause": 9, "caught": "(KeyError, x.Y)"}
    assert f"except {HOLE}:" in second.code and second.about == {"clause": 10, "caught": "OSError"}
    assert "Doc" not in shown(function, "defect")[0].code and "@cached" in shown(function, "defect")[0].code
    assert shown(function, "clone")[0].code.startswith("def function(self):")
    assert shown(function, "table")[0].code == function.code
    with pytest.raises(SyntaxError):
        shown(Function("x", "f", 1, "int f() {}"), "defect")


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    return results_of(tmp_path_factory.mktemp("predict") / "results", "final or first", "bigru")


def predict(*arguments, **settings):
    done = CliRunner().invoke(app, ["predict", *map(str, arguments)], **settings)
    return done, [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def test_labels_are_those_of_the_model_on_its_examples(student, tmp_path):
    cell = Cell.load(student)
    [examples] = (student.parents[2] / "examples").iterdir()
    code = pl.read_parquet(examples / "test.parquet")["code"].to_list()
    whole = [number for number, text in enumerate(code) if len(list(functions_in(text, "python", ""))) == 1]
    (tmp_path / "a.py").write_text("\n\n".join(code[number] for number in whole))
    data = load_encoded(cell.encoded, ["test"])
    with torch.inference_mode():
        batch = data.batch(np.arange(len(data)), torch.device("cpu"))
        expected = cell.model()(batch.input_ids, batch.attention_mask).logits.argmax(1).tolist()
    done, records = predict(student, tmp_path / "a.py")
    assert done.exit_code == 0 and len(records) == len(whole) > 10
    assert [record["label"] for record in records] == ["abc"[expected[number]] for number in whole]
    assert all(1 / 3 <= record["probability"] <= 1 for record in records)

    CliRunner().invoke(app, ["export", str(student), "--out", str(tmp_path / "out")])
    _, exported = predict(tmp_path / "out", tmp_path / "a.py")
    assert [one["function"] for one in exported] == [one["function"] for one in records]
    assert sum(one["label"] == two["label"] for one, two in zip(exported, records, strict=True)) >= len(records) - 1


def test_standard_input_needs_a_language(student):
    _, records = predict(student, "-", "--language", "c", input=C)
    assert [record["function"] for record in records] == ["copy", "pick"]
    refused, _ = predict(student, "-", input=C)
    assert refused.exit_code == 1 and "give --language, one of python, c, java" in refused.output


def test_pairs_are_all_pairs(tmp_path):
    pair = results_of(tmp_path / "results", "pair", "bigru", kind="clone")
    (tmp_path / "a.py").write_text("def f(): pass\ndef g(): return 1\ndef h(x): return x\n")
    (tmp_path / "b.c").write_text("int f(void) { return 1; }")
    done, records = predict(pair, tmp_path / "a.py", tmp_path / "b.c")
    assert done.exit_code == 0
    assert records[0] == {
        "file": str(tmp_path / "b.c"), "function": "f", "line": 1,
        "error": "the task is about Python, and this is none: invalid syntax",
    }  # fmt: skip
    assert [(one["function_a"], one["function_b"]) for one in records[1:]] == [("f", "g"), ("f", "h"), ("g", "h")]


@pytest.fixture(scope="module")
def lexical(tmp_path_factory):
    """Functions of Python, and a student of lexemes that compares them: its cell and its export."""
    folder = tmp_path_factory.mktemp("lexical")
    cell = results_of(folder / "results", "pair", "lexical conv", kind="table")
    done = CliRunner().invoke(app, ["export", str(cell), "--out", str(folder / "out")])
    assert done.exit_code == 0, done.output
    (folder / "out" / SMALL).unlink(missing_ok=True)  # it answers a little differently where it happens to be faster
    names = [f"def f{number}(x): return {'+'.join('xyz'[: number % 3 + 1])} * {number}" for number in range(9)]
    (folder / "a.py").write_text("\n\n".join(names))
    return cell, folder / "out", folder / "a.py"


@pytest.mark.parametrize("place", [0, 1], ids=["cell", "export"])
def test_a_function_is_encoded_once_and_each_pair_gets_the_answer_of_the_whole_model(lexical, place, monkeypatch):
    labeller, file = Labeller.load(lexical[place]), lexical[2]
    encoded = []
    halves = labeller.comparison
    counting = replace(halves, vectors=lambda batch: (encoded.append(len(batch.input_ids)), halves.vectors(batch))[1])
    monkeypatch.setattr(predicting, "BLOCK", 4)
    functions = list(functions_in(file.read_text(), "python", "a.py"))
    found = list(replace(labeller, comparison=counting).label(functions))
    whole = list(replace(labeller, comparison=None).label(functions))
    assert len(found) == 36 and sum(encoded) == 10, "nine functions, of which an odd one stands there twice"
    for one, other in zip(found, whole, strict=True):
        assert one | {"probability": 0} == other | {"probability": 0}
        assert one["probability"] == pytest.approx(other["probability"], abs=2e-4)
    assert {one["label"] for one in found} > {found[0]["label"]} or len({one["probability"] for one in found}) > 5


def test_only_the_answers_that_are_asked_for_are_given(lexical, monkeypatch):
    cell, out, file = lexical
    _, every = predict(out, file)
    median = float(np.median([one["probability"] for one in every]))
    _, likely = predict(out, file, "--min-probability", median)
    assert 0 < len(likely) < len(every) and likely == [one for one in every if one["probability"] >= median]
    _, labelled = predict(out, file, "--label", every[0]["label"])
    assert labelled == [one for one in every if one["label"] == every[0]["label"]]
    refused, _ = predict(out, file, "--label", "d")
    assert refused.exit_code == 1 and "no class is called 'd': choose one of a, b, c" in refused.output
    monkeypatch.setattr(predicting, "MOST_PAIRS", 35)
    refused, records = predict(cell, file)
    assert refused.exit_code == 1 and not records
    assert "9 functions make 36 pairs; say which are wanted, such as `--label c`" in " ".join(refused.output.split())
    assert predict(cell, file, "--label", "a")[0].exit_code == 0


def test_one_function_makes_no_pair(lexical, tmp_path):
    (tmp_path / "a.py").write_text("def f(): pass")
    for model in lexical[:2]:
        done, records = predict(model, tmp_path / "a.py")
        assert done.exit_code == 0 and not records


def test_what_is_no_model_is_said(tmp_path: Path):
    done, _ = predict(tmp_path, tmp_path / "a.py")
    assert done.exit_code == 1 and "is not a finished node" in done.output
