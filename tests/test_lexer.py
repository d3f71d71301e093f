"""The lexer keeps to its specification, takes any text, and is fast."""

import json
import random
import re
import time
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
import torch

from codekd.data import lexer
from codekd.data.functions import functions_of
from codekd.data.lexer import HOLE_ID, LARGEST, RESERVED, lex, lexeme_id, lexeme_ids
from codekd.models.lexical import RunEmbedding

ROOT = Path(__file__).parents[1]
VECTORS, RUNS = map(json.loads, re.findall(r"```json\n(.*?)```", (ROOT / "docs" / "lexer.md").read_text(), re.DOTALL))
LANGUAGES = ("python", "c", "java", "plain")


def texts(code: str, language: str) -> list[str]:
    found = lex(code, language)
    return [code[start:end] for start, end in zip(found.starts, found.ends, strict=True)]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda one: one["code"])
def test_lexemes_are_those_of_the_specification(vector):
    code, found = vector["code"], lex(vector["code"], vector["language"])
    rows = zip(texts(code, vector["language"]), *(column.tolist() for column in found), strict=True)
    assert [list(row) for row in rows] == vector["lexemes"]
    assert all(column.dtype == np.int32 for column in found)


def test_rows_of_runs_are_those_of_the_specification():
    embedding = RunEmbedding(RUNS["buckets"], 2, RUNS["longest"], RUNS["hashes"])
    found = embedding._buckets(torch.tensor([RUNS["ids"]]))
    assert found.tolist() == [RUNS["rows"]]


def test_ids_are_moved_out_of_those_that_are_reserved():
    assert lexeme_id("return") == crc32(b"return") & LARGEST
    found_by_trying = "al4eqy"
    assert crc32(found_by_trying.encode()) & LARGEST == HOLE_ID
    assert lexeme_id(found_by_trying) == HOLE_ID + RESERVED
    assert lex("a __HOLE__", "python").ids[1] == HOLE_ID


def test_a_hole_is_a_lexeme_wherever_it_stands():
    assert texts("a__HOLE__b", "python") == ["a", "__HOLE__", "b"]
    assert texts("x # __HOLE__ y\n'__HOLE__'", "python") == ["x", "__HOLE__", "y", "'", "__HOLE__", "'"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_any_text_gives_lexemes_in_order_that_hide_nothing_but_space_and_comments(language):
    drawn = random.Random(0)
    parts = [
        "__HOLE__",
        "'",
        '"',
        '"""',
        "'''",
        "\\",
        "\n",
        "#",
        "//",
        "/*",
        "*/",
        "a1",
        "1e",
        "+",
        "é",
        "\ud800",
        "\0",
        " ",
        "😀",
    ]
    for _ in range(500):
        code = "".join(drawn.choices(parts, k=drawn.randrange(12)))
        found = lex(code, language)
        assert found.ids.tolist() == lexeme_ids(code, language)
        assert (found.starts < found.ends).all() and (found.ends[:-1] <= found.starts[1:]).all()
        assert ((found.ids >= RESERVED) | (found.ids == HOLE_ID)).all()
        hidden = code if not len(found.ids) else code[: found.starts[0]] + code[found.ends[-1] :]
        assert language != "plain" or not hidden.strip()


@pytest.mark.parametrize("text", ['\\"""', '\\"', "\\'", "/*", "'''", "#", "//", '"', " ", "\n"])
def test_time_is_linear_in_what_is_not_closed(text):
    started = time.process_time()
    for language in LANGUAGES:
        lex(text * 50_000, language)
    assert time.process_time() - started < 10


def test_one_core_reads_a_hundred_thousand_lexemes_a_second():
    """Here seven times as many; two tries, for other processes may be in the way."""
    code = [one.code for path in sorted((ROOT / "src").rglob("*.py")) for one in functions_of(path.read_text())]
    rates = []
    for _ in range(2):
        lexer.lexeme_id.cache_clear()
        started = time.process_time()
        count = sum(len(lex(one, "python").ids) for one in code)
        rates.append(count / (time.process_time() - started))
    assert max(rates) > 100_000
