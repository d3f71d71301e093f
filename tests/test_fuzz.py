"""Damaged configs, wheels and sources: each is read, or refused with a message, and never anything else."""

import ast
import bz2
import gzip
import importlib.util
import io
import json
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import yaml
from checkout import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_corpus import write_wheel
from test_lexemes import LANGUAGES, check_tree
from test_units import naive_states, tokens_of, units_of

from codekd.data.bare import bare
from codekd.data.corpus import UNPARSABLE, wheel_functions
from codekd.data.functions import functions_of, parse
from codekd.data.hole import HOLE
from codekd.data.lexemes import parse as syntax_of
from codekd.data.readers import rows_of
from codekd.data.records import BadRow, Classes
from codekd.data.tasks._except_clauses import clauses_of
from codekd.data.tasks._injected_bugs import inject
from codekd.data.tokens import code_tokens
from codekd.deploy.sources import Problem, read_source
from codekd.errors import CodekdError
from codekd.study.graph import Graph
from codekd.study.resolve import load_study, read_config

CONFIGS = [(ROOT / "config" / f"{name}.yaml").read_text() for name in ("config", "smoke", "two-teachers", "methods")]
SOURCES = [(ROOT / "src" / "codekd" / name).read_text() for name in ("progress.py", "data/labels.py", "study/lease.py")]
SOURCES += [
    """\
@a
@b(
  1)
async def f(x, *, y=lambda: 1):
    '''doc'''
    try:
        return x - y
    except (A, b.C) as e: raise
    except:
        pass
""",
    """\
class A:
\tdef f(self):
\t\ts = '''
 a
'''
\t\ttry:
\t\t\tx = a >= b or c
\t\texcept é.Ä:
\t\t\treturn\\
\t\t\t\tx
""",
]
PIECES = [
    *("\t", "\r\n", "\f", "\\\n", "\0", "\N{BYTE ORDER MARK}", "é", "漢", "🎉", "\N{LINE SEPARATOR}", " ", "\n"),
    *("(", ")", "[", "]", "{", "}", "'", '"', "'''", "f'{", "#", ":", ";", "@", "*", "**", "->", ":=", "!", "&a "),
    *("def f(): ", "class A: ", "try:\n", "except ", "except* E:\n", "lambda: ", "async ", "await ", "match x:\n"),
    *(
        "0x",
        "1e999",
        "-1",
        ".nan",
        "~",
        "{}",
        "[]",
        "!!python/name:os.system ",
        "? ",
        "--- ",
        "<<: ",
        "../",
        "*a",
        HOLE,
    ),
]
VALUES: list[Any] = [None, True, 0, -1, 10**30, 0.5, float("nan"), "", "..", "a/b", "kd", [], [1], {}, {"a": {}}]


@st.composite
def damaged(draw: Callable[..., Any], texts: Sequence[str]) -> str:
    """A text with pieces of it missing, repeated elsewhere, or replaced by what such texts do not like."""
    text = draw(st.sampled_from(texts))
    for _ in range(draw(st.integers(1, 6))):
        place, size = draw(st.integers(0, len(text))), draw(st.integers(0, 40))
        other = draw(st.integers(0, len(text)))
        new = draw(st.sampled_from(["", text[other : other + size], *PIECES]) | st.text(max_size=4))
        text = text[:place] + new + text[place + draw(st.sampled_from([0, 0, 1, size])) :]
    return text


@st.composite
def edited(draw: Callable[..., Any], texts: Sequence[str]) -> str:
    """A config with values and keys replaced."""
    config = yaml.safe_load(draw(st.sampled_from(texts)))
    for _ in range(draw(st.integers(1, 4))):
        owner: Any = config
        while True:
            key = draw(st.sampled_from(list(owner) if isinstance(owner, dict) else list(range(len(owner)))))
            if not isinstance(owner[key], dict | list) or not owner[key] or draw(st.booleans()):
                break
            owner = owner[key]
        value = deepcopy(draw(st.sampled_from(VALUES)))
        if isinstance(owner, dict) and draw(st.booleans()):
            owner[draw(st.sampled_from(["", "x", "kind", "preset", "training", "minilm", 1, None]))] = owner.pop(key)
        else:
            owner[key] = value
        if not config:
            break
    return yaml.safe_dump(config)


def a_config_is_a_study_or_is_refused_in_a_few_lines(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "study.yaml")
        path.write_bytes(text.encode(errors="surrogatepass"))
        path.with_name("corpus").symlink_to(ROOT / "config" / "corpus")
        try:
            graph = Graph(load_study(read_config(path), [path]), Path(folder, "results"))
        except CodekdError as error:
            assert 0 < len(str(error)) < 5_000
            return
        for node in graph:
            assert ".." not in node.folder.parts and not node.folder.is_absolute()
            node.job(Path(folder, "results"))


def a_wheel_is_read_or_refused(sources: list[str], data: st.DataObject) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, source in enumerate(sources):
            archive.writestr(f"toy/{number}.py", source.encode(errors="surrogatepass"))
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(0, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        path, pin = write_wheel(Path(folder), bytes(content[: data.draw(st.just(None) | st.integers(0, len(content)))]))
        try:
            assert all(function.code for _, function in wheel_functions(path, pin, Counter()))
        except CodekdError as error:
            assert str(path) in str(error)


def functions_their_clauses_and_their_bugs_are_whole(source: str) -> None:
    try:
        functions = list(functions_of(importlib.util.decode_source(source.encode(errors="surrogatepass"))))
    except UNPARSABLE:
        return
    for function in functions:
        code_tokens(function.code)
        (node,) = parse(function.code).body
        assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        assert node.name == function.qualname.rsplit(".", 1)[-1]
        bare(function.code)
        for clause in clauses_of(function.code):
            parse(f"{clause.before}{HOLE}{clause.after}")
        variants = inject(function.code, ["operator", "swapped"])
        for text in variants.buggy.values():
            assert text != variants.clean and len(parse(text).body) == 1


def lexemes_fit_any_tokens(language: str, source: str, cuts: list[int], data: st.DataObject) -> None:
    source = source.encode(errors="replace").decode()[:2_000] or "x"
    syntax = syntax_of(source, language)
    check_tree(syntax)
    assert (syntax.starts < syntax.ends).all() and (syntax.ends[:-1] <= syntax.starts[1:]).all()
    tokens = tokens_of(source, cuts)
    window = sorted(data.draw(st.tuples(st.integers(0, len(tokens)), st.integers(0, len(tokens)))))
    shown = tokens[slice(*window)]
    hidden = np.random.default_rng(0).normal(size=(len(shown) + 2, 3))
    expected = naive_states(source, shown, hidden[1:-1])
    units = units_of([(source, shown)])
    batch = units.batch(np.array([0]), len(hidden), torch.device("cpu"))
    states = batch.states(torch.from_numpy(hidden)[None])[0]
    seen = [index for index, state in enumerate(expected) if state is not None]
    assert seen == [int(units.first[0]) + index for index in batch.mask[0].nonzero().ravel().tolist()]
    for index in seen:
        np.testing.assert_allclose(states[index - units.first[0]], expected[index], rtol=1e-5, atol=1e-6)


ROWS = [
    {"id": number, "code": f'int f{number}(void) {{\n  return "{number}";\n}}', "label": number % 2}
    for number in range(9)
]


def _tables() -> dict[str, bytes]:
    """The same rows in every format, by names of files."""
    frame, parquet = pl.DataFrame(ROWS), io.BytesIO()
    frame.write_parquet(parquet)
    plain = frame.write_csv().encode()
    return {
        "a.csv": plain,
        "b.csv": frame.write_csv(separator=";").encode("utf-16"),
        "c.csv.gz": gzip.compress(plain),
        "d.tsv": frame.write_csv(separator="\t", quote_style="always").replace("\n", "\r\n").encode("utf-8-sig"),
        "e.jsonl": frame.write_ndjson().encode(),
        "f.json": json.dumps(ROWS, indent=1).encode(),
        "g.jsonl.bz2": bz2.compress(frame.write_ndjson().encode()),
        "h.parquet": parquet.getvalue(),
    }


TABLES = _tables()
FILES = {
    **{f"{number}.py": source.encode(errors="replace") for number, source in enumerate(SOURCES)},
    "a.h": b"class A { public: int f() { return 1; } };\n#define X(a) a ## 1\nint (*g(void))(int) { return 0; }\n",
    "b.java": b"class A<T> { A() {} <S> S f(T t) throws E { return () -> 1; } enum B { C { void g() {} } } }",
    "c.ts": b"export const f = async <T,>(x: T) => ({ ...x }); class A { get b() { return `a${1}`; } #c = () => 2 }",
    "d.go": b"package a\nfunc (s *S[T]) F(x int) (y int) { defer func() { y++ }(); return `a`[0] }\n",
    "e.ipynb": json.dumps(
        {"cells": [{"cell_type": "code", "source": ["%x\n", "def f(): pass\n"]}], "metadata": {"kernelspec": {}}}
    ).encode(),
}


def _damage(content: bytes, data: st.DataObject) -> bytes:
    """Some bytes changed, put in, taken out, or the end cut off."""
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(0, 6))):
        place = data.draw(st.integers(0, len(damaged)))
        other = data.draw(
            st.binary(max_size=4) | st.sampled_from([b'"', b"\n", b"\r", b",", b"\0", b"\xff", b"{", b"`"])
        )
        damaged[place : place + data.draw(st.integers(0, 4))] = other
    return bytes(damaged[: data.draw(st.just(None) | st.integers(0, len(damaged)))])


def a_table_is_read_or_refused(name: str, data: st.DataObject) -> None:
    """And a row has what it should have, or the reason why not."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(_damage(TABLES[name], data))
        try:
            for row in rows_of([path], ["code", "label"]):
                try:
                    row.code("code").encode()
                    assert row.label("label", Classes(["no", "yes"])) in (0, 1)
                except BadRow as reason:
                    assert 0 < len(str(reason)) < 500
        except CodekdError as error:
            assert name in str(error) and len(str(error)) < 1_000


def a_source_file_has_functions_or_a_problem(name: str, data: st.DataObject) -> None:
    found = list(read_source(_damage(FILES[name], data), name))
    assert found
    for one in found:
        assert isinstance(one, Problem) or (one.code.strip() and one.name and one.line > 0)
        assert not isinstance(one, Problem) or 0 < len(one.message) < 500


INPUTS: dict[Callable[..., None], tuple[st.SearchStrategy[Any], ...]] = {
    a_config_is_a_study_or_is_refused_in_a_few_lines: (damaged(CONFIGS) | edited(CONFIGS),),
    a_wheel_is_read_or_refused: (st.lists(damaged(SOURCES), max_size=2), st.data()),
    functions_their_clauses_and_their_bugs_are_whole: (damaged(SOURCES),),
    a_table_is_read_or_refused: (st.sampled_from(sorted(TABLES)), st.data()),
    a_source_file_has_functions_or_a_problem: (st.sampled_from(sorted(FILES)), st.data()),
    lexemes_fit_any_tokens: (
        st.sampled_from(LANGUAGES),
        damaged(SOURCES),
        st.lists(st.integers(1, 2_000), max_size=300),
        st.data(),
    ),
}


def fuzz(check: Callable[..., None], inputs: int, **options: Any) -> None:
    """Try a check on so many inputs."""
    few = settings(max_examples=inputs, deadline=None, suppress_health_check=list(HealthCheck), **options)
    few(given(*INPUTS[check])(check))()


@pytest.mark.parametrize("check", INPUTS, ids=lambda check: check.__name__)
def test_damaged_inputs(check: Callable[..., None]) -> None:
    # The same inputs every time: others are tried by tests/torture.py.
    fuzz(check, 60, derandomize=True)
