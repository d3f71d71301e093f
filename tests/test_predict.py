"""Functions are found in any source, shown as their task shows them, and labelled as the model labels its examples."""

import json
import re
import subprocess
import sys
import tracemalloc
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from test_export import results_of
from transformers import AutoTokenizer, pipeline
from typer.testing import CliRunner

from codekd.cli import app
from codekd.data import grammar
from codekd.data.batches import load_encoded
from codekd.data.corpus import wheel_functions
from codekd.data.decoding import decode
from codekd.data.encoded import encoding_of
from codekd.data.hole import HOLE
from codekd.data.pins import read_pins
from codekd.data.tasks.base import as_it_is
from codekd.data.wheels import fetch, open_wheel
from codekd.deploy import predict as predicting
from codekd.deploy.export import Cell
from codekd.deploy.predict import Labeller
from codekd.deploy.runtimes import SMALL
from codekd.deploy.sources import Function, Problem, functions_in, read_source
from codekd.models.device import CPU
from codekd.models.inference import predict as forward
from codekd.models.vocabulary import copy_tokenizer, read_vocabulary
from codekd.study import components

pytest_plugins = ["data_fixtures"]
ROOT = Path(__file__).parents[1]

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
    return [(one.name, one.line) for one in functions_in(source, language, "x") if isinstance(one, Function)]


def shown(code, kind, line=1):
    return getattr(components.load("tasks", kind), "shown", as_it_is)(code, line)


def test_functions_are_found_in_every_language_and_beside_errors():
    assert found(PYTHON, "python")[:3] == [("é", 2), ("inner", 6), ("later", 13)]
    assert found(C, "c") == [("copy", 2), ("pick", 6)]
    assert found(JAVA, "java") == [("A", 2), ("f", 4), ("g", 4)]
    assert found("", "python") == []


def test_code_is_at_the_left_margin_with_its_decorators():
    _, first, inner, *_ = functions_in(PYTHON, "python", "x")
    assert first.code.startswith("@cached\n@property\ndef é(self):\n    '''Doc.'''\n")
    assert inner.code == "def inner(): return 1"


def test_tasks_show_what_they_were_trained_on():
    _, function, *_ = functions_in(PYTHON, "python", "x")
    first, second = shown(function.code, "exception", function.line)
    assert f"except {HOLE} as e: pass" in first.code and first.about == {"clause": 9, "caught": "(KeyError, x.Y)"}
    assert f"except {HOLE}:" in second.code and second.about == {"clause": 10, "caught": "OSError"}
    assert "Doc" not in shown(function.code, "defect")[0].code and "@cached" in shown(function.code, "defect")[0].code
    assert shown(function.code, "clone")[0].code.startswith("def function(self):")
    assert shown(function.code, "table")[0].code == function.code
    with pytest.raises(SyntaxError):
        shown("int f() {}", "defect")


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
    assert refused.exit_code == 1 and "give --language, one of python, c, cpp, java" in refused.output


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


def test_pairs_are_a_stream_that_nobody_holds(lexical):
    """Of 400 functions 79,800 pairs: their records alone would be more than 40 MB."""
    functions = functions_in("\n".join(f"def f{n}(x): return x * {n}" for n in range(400)), "python", "a.py")
    labeller = Labeller.load(lexical[1])
    tracemalloc.start()
    try:
        count = sum(1 for _ in labeller.label(functions))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 79_800 and peak < 10e6, peak


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


CPP = """\
template <class T>
T Box<T>::get(int a) const { return a; }
class A : public B {
 public:
  A() : x(0) {}
  ~A() {}
  bool operator==(const A& other) const { return x == other.x; }
  int &slot() { return x; }
};
"""
JS = """\
const add = (a, b) => a + b, one = 1;
export const twice = async (a) => {
  return 2 * a;
};
function* many() { yield 1; }
class A { #secret() { return 1; } get size() { return 0; } handler = () => 3; }
module.exports.run = function (x) { return x; };
const o = { key: function () { return 1; }, short() { return 2; } };
[1].map((x) => x);
"""
TS = (
    "abstract class A { abstract n(): void; m<T>(x: T): T { return x as T; } }\nfunction f(x?: 2): x is 3 { return x; }"
)
GO = "package a\n\nfunc F(x int) int { return x }\n\nfunc (a *A) G() (int, error) {\n\treturn 1, nil\n}\n"


@pytest.mark.parametrize(
    ("language", "source", "names"),
    [
        ("cpp", CPP, [("get", 1), ("A", 5), ("~A", 6), ("operator==", 7), ("slot", 8)]),
        ("javascript", JS, [("add", 1), ("twice", 2), ("many", 5), ("#secret", 6), ("size", 6), ("handler", 6),
                            ("run", 7), ("key", 8), ("short", 8)]),
        ("typescript", TS, [("m", 1), ("f", 2)]),
        ("tsx", "const View = (p: P) => <b>{p.x}</b>;\n", [("View", 1)]),
        ("go", GO, [("F", 3), ("G", 5)]),
        ("java", "record P(int x) { P { x = 1; } <T> P(T t) { this(1); } }", [("P", 1), ("P", 1)]),
    ],
)  # fmt: skip
def test_functions_are_found_in_further_languages(language, source, names):
    assert [(name.rpartition("::")[2], line) for name, line in found(source, language)] == names
    assert all(one.parsed for one in functions_in(source, language, "x"))


def test_a_function_has_the_name_that_it_is_given_and_what_belongs_to_it():
    codes = {one.name: one.code for one in functions_in(JS, "javascript", "x")}
    assert codes["twice"].startswith("const twice = async (a) => {\n  return 2 * a;\n}")
    assert codes["add"] == "(a, b) => a + b" and codes["handler"] == "handler = () => 3"
    first = next(functions_in(CPP, "cpp", "x"))
    assert first.code.startswith("template <class T>\nT Box<T>::get(")


def test_each_of_several_functions_on_a_line_is_shown_alone():
    one_line = "static int a(void) { return 1; } static int b(void) { return 2; }\n"
    assert [one.code for one in functions_in(one_line, "c", "x")] == [
        "static int a(void) { return 1; }", "static int b(void) { return 2; }"
    ]  # fmt: skip
    java = "class One { int get() { return x; } void set(int v) { x = v; } }"
    assert [one.code for one in functions_in(java, "java", "x")] == [
        "int get() { return x; }", "void set(int v) { x = v; }"
    ]  # fmt: skip


MARGIN = """\
class A:
    def comment(self):
        x = 1
#        y = 2
        return x

    def text(self):
        s = '''
no indent
'''
        return s
"""


def test_a_method_whose_comment_or_string_is_at_the_margin_stays_whole():
    comment, text = functions_in(MARGIN, "python", "x")
    assert comment.code == "def comment(self):\n    x = 1\n#        y = 2\n    return x"
    assert text.code == "def text(self):\n    s = '''\nno indent\n'''\n    return s"
    assert all(shown(one.code, "defect") for one in (comment, text))


def test_prediction_and_corpora_find_the_same_functions_of_a_wheel(resources):
    """Also where Python's own grammar is asked and the other one could have been."""
    count, by_grammar = 0, 0
    for pin in read_pins(ROOT / "config/corpus/previous.txt")[:4]:
        [path] = fetch([pin], resources, "test")
        corpus = list(wheel_functions(path, pin, Counter()))
        with open_wheel(path, pin) as wheel:
            for module in dict.fromkeys(module for module, _ in corpus):
                expected = [(one.qualname, one.line, one.code) for name, one in corpus if name == module]
                read = read_source(wheel.read(module), module)
                assert [(one.name, one.line, one.code) for one in read if isinstance(one, Function)] == expected
                text = decode(wheel.read(module), "python")
                others = {(one.line, one.code) for one in grammar.functions_of(text, "python")}
                by_grammar += sum((line, code) in others for _, line, code in expected)
                count += len(expected)
    assert count > 2000 and by_grammar > 0.99 * count


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"\xef\xbb\xbfdef f():\r\n    return 'x'\r\n", "bom.py"),
        ("# -*- coding: latin-1 -*-\ndef f():\n    return 'x'\n# é".encode("latin-1"), "declared.py"),
        ("def f():\n    return 'x'\n".encode("utf-16"), "wide.py"),
        (b"def f():\r    return 'x'\r", "old.py"),
    ],
)
def test_python_is_read_in_the_encoding_that_it_says(raw, name):
    [function] = read_source(raw, name)
    assert function.code == "def f():\n    return 'x'" and function.line == 1 + (name == "declared.py")


@pytest.mark.parametrize(
    ("raw", "name", "message"),
    [
        (b"", "a.py", "no function was found"),
        (b"\n  \n", "a.c", "no function was found"),
        (b"x = 1\n", "a.py", "no function was found"),
        (b"\x7fELF\x00\x01", "a.c", "null bytes: this is no text"),
        (b"def f():\n  return '\xe9'", "a.py", "invalid or missing encoding declaration|can't decode"),
        (b"# coding: klingon\n", "a.py", "unknown encoding: klingon"),
        (b"{}", "a.ipynb", "is no notebook"),
    ],
)
def test_a_file_without_a_function_says_why(raw, name, message):
    *_, problem = read_source(raw, name)
    assert isinstance(problem, Problem) and re.search(message, problem.message) and not problem.warning


def test_text_that_does_not_parse_is_said_and_its_functions_are_found():
    warning, function, broken = read_source(b"def f():\n    return 1\n\ndef g(:\n    pass\n", "a.py")
    assert warning.warning and warning.message.startswith("is no Python, line 4: ")
    assert (function.name, function.parsed) == ("f", True) and (broken.name, broken.parsed) == ("g", False)
    [odd] = read_source(b"int f(void) { return 1 +; }\n", "a.c")
    assert not odd.parsed


def test_a_header_is_of_the_language_that_reads_it():
    header = b"class A {\n public:\n  int f() { return 1; }\n  std::vector<int> g() { return {}; }\n};\n"
    assert [one.name for one in read_source(header, "a.h")] == ["f", "g"]
    assert all(one.parsed for one in read_source(header, "a.h"))
    in_c = b"static int f(int class, int new) { return class + new; }\n"
    [function] = read_source(in_c, "a.h")
    assert function.name == "f" and function.parsed


def test_functions_of_a_notebook_are_in_its_cells():
    cells = [
        {"cell_type": "markdown", "source": "def no(): pass"},
        {"cell_type": "code", "source": ["%matplotlib inline\n", "def f():\n", "    return 1\n", "!ls\n"]},
        {"cell_type": "code", "source": "%%bash\ndef no(): pass"},
        {"cell_type": "code", "source": "def g(:"},
        {"cell_type": "code", "source": ""},
    ]
    notebook = json.dumps({"cells": cells}).encode()
    function, warning, *_ = read_source(notebook, "a.ipynb")
    assert (function.name, function.line, function.cell) == ("f", 2, 2)
    assert warning.warning and warning.message.startswith("cell 4 is no Python, line 1")
    assert [one.cell for one in read_source(notebook, "a.ipynb", whole=True) if isinstance(one, Function)] == [2, 4]
    [other] = read_source(json.dumps({"cells": [], "metadata": {"kernelspec": {"language": "R"}}}).encode(), "a.ipynb")
    assert "a notebook in R" in other.message


def test_folders_whole_files_and_what_fails_have_records(student, tmp_path):
    for name in ("a.py", "sub/b.c", ".git/no.py", "node_modules/no.js", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text("int f(void) { return 1; }" if name.endswith("c") else "def f(): return 1\n")
    (tmp_path / "sub/empty.py").write_text("")
    done, records = predict(student, tmp_path)
    assert done.exit_code == 0
    assert [Path(one["file"]).name for one in records] == ["empty.py", "a.py", "b.c"]
    assert records[0] == {"file": str(tmp_path / "sub/empty.py"), "error": "no function was found"}
    done, records = predict(student, tmp_path / "sub/empty.py")
    assert done.exit_code == 1 and len(records) == 1
    done, [record] = predict(student, "--whole", tmp_path / "a.py")
    assert set(record) == {"file", "label", "probability"}
    assert predict(student, "--whole", "--language", "plain", tmp_path / "notes.txt")[0].exit_code == 0
    (tmp_path / "long.py").write_text("def f():\n" + "    x = 1\n" * 100)
    assert [one.get("cut") for one in predict(student, tmp_path / "long.py", tmp_path / "a.py")[1]] == [True, None]


@pytest.mark.parametrize("family", ["bigru", "conv", "roberta", "lexical conv", "lexical roberta"])
@pytest.mark.parametrize("pooling", ["final or first", "hole", "pair"])
def test_every_way_gives_the_labels_that_the_cell_has(pooling, family, tmp_path):
    """The rows of examples by ``predict``, by an export, by one call, and by transformers alone."""
    if (pooling, family) == ("hole", "lexical roberta"):
        pytest.skip("as without a hole")
    cell = results_of(tmp_path / "results", pooling, family)
    loaded = Cell.load(cell)
    test = load_encoded(loaded.encoded, ["test"])
    [examples] = (tmp_path / "results/examples").iterdir()
    logits = forward(loaded.model(), test, CPU)
    expected = ["abc"[one] for one in logits.argmax(1)]
    table = examples / "test.parquet"
    done, records = predict(cell, table)
    assert done.exit_code == 0, done.output
    assert [one["label"] for one in records] == expected and [one["id"] for one in records] == test.ids
    assert sum("cut" in one for one in records) > 0
    CliRunner().invoke(app, ["export", str(cell), "--out", str(tmp_path / "out")])
    (tmp_path / "out" / SMALL).unlink(missing_ok=True)
    assert [one["label"] for one in predict(tmp_path / "out", table)[1]] == expected
    sides = list(pl.read_parquet(table).select(loaded.spec["columns"]).iter_rows())
    assert [label for label, _ in Labeller.load(cell).classify([one if len(one) > 1 else one[0] for one in sides])] == (
        expected
    )
    if family.startswith("lexical"):
        return
    copy_tokenizer(loaded.encoded, cell)
    tokenizer = AutoTokenizer.from_pretrained(cell)
    rows = pl.read_parquet(loaded.encoded / "test.parquet")["input_ids"].to_list()
    assert [tokenizer(*code, truncation=True)["input_ids"] for code in sides] == rows
    inputs = tokenizer(*map(list, zip(*sides, strict=True)), truncation=True, padding=True, return_tensors="pt")
    with torch.inference_mode():
        np.testing.assert_allclose(loaded.model()(**inputs).logits, logits, atol=1e-4)
    classify = pipeline("text-classification", model=str(cell), tokenizer=tokenizer)
    asked = [{"text": one[0], "text_pair": one[1]} for one in sides] if pooling == "pair" else [one for (one,) in sides]
    labels = [int(one["label"][-1]) for one in classify(asked, truncation=True, batch_size=8)]
    assert labels == logits.argmax(1).tolist()


def test_the_tokenizer_of_a_task_with_a_hole_asks_for_one(tmp_path):
    cell = Cell.load(results_of(tmp_path / "results", "hole", "bigru"))
    tokenizer = AutoTokenizer.from_pretrained(cell.encoded)
    for code in ("x = 1", f"{HOLE} {HOLE}"):
        with pytest.raises(ValueError, match="exactly one __HOLE__"):
            tokenizer(code)
    assert len(tokenizer(f"{HOLE} = 1" * 1, padding="max_length", max_length=20)["input_ids"]) == 20


def test_names_of_special_tokens_in_code_are_code(tmp_path):
    cell = Cell.load(results_of(tmp_path / "results", "hole", "bigru"))
    encoding = encoding_of(cell.encoded, cell.spec)
    [ids] = encoding.read([[f"x = '</s><pad>' + {HOLE}"]]).inputs.input_ids
    special = read_vocabulary(cell.encoded)
    assert set(ids[1:-1]) & set(special.special_ids) == {special.hole_id}


def test_whoever_reads_may_have_enough(lexical):
    command = [sys.executable, "-m", "codekd", "predict", str(lexical[1]), *[str(lexical[2])] * 12]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        run.stdout.readline()
        run.stdout.close()
        assert run.stderr.read() == "" and run.wait() == 0
