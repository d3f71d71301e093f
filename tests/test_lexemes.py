"""Lexemes: the same for every tokenizer, whatever the source looks like."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codekd.data.lexemes import parse
from codekd.errors import CodekdError

LANGUAGES = ("python", "c", "java", "plain")


def texts(code, language="python"):
    syntax = parse(code, language)
    return [code[start:end] for start, end in zip(syntax.starts, syntax.ends, strict=True)]


def spans(code, language="python"):
    """Every node's text, without white space."""
    syntax, lexemes = parse(code, language), texts(code, language)
    return ["".join(lexemes[a:b]) for a, b in zip(syntax.first, syntax.last, strict=True)]


@pytest.mark.parametrize(
    ("language", "code", "expected"),
    [
        ("python", "if a>=b:\n\treturn 'x y'", ["if", "a", ">=", "b", ":", "return", "'", "x y", "'"]),
        ("python", "x = 'a\\n' # no", ["x", "=", "'", "a\\n", "'", "# no"]),
        ("python", "except __HOLE__:", ["except", "__HOLE__", ":"]),
        ("python", "größe = 'é'\r\ny = größe", ["größe", "=", "'", "é", "'", "y", "=", "größe"]),
        ("python", "s = '''a\nb'''", ["s", "=", "'''", "a\nb", "'''"]),
        ("c", "int f(char *s) { return s[0] << 2; }", None),
        ("java", "class A { int f() { return 1 >> 2; } }", None),
        ("plain", "let x -> 'a b' += 1.5e-3;", ["let", "x", "->", "'a b'", "+=", "1.5e-3", ";"]),
    ],
)
def test_lexemes_are_what_a_programmer_would_say(language, code, expected):
    assert texts(code, language) == (expected or code.replace("[0]", " [ 0 ] ").translate(SPACED).split())


SPACED = str.maketrans({mark: f" {mark} " for mark in "(){};*"})


def test_the_tree_has_the_statements_and_expressions():
    found = spans("def f(a):\n    return g(a + 1)\n")
    assert {"deff(a):returng(a+1)", "(a)", "returng(a+1)", "g(a+1)", "(a+1)", "a+1", "a", "1"} <= set(found)


@pytest.mark.parametrize("language", LANGUAGES)
@given(code=st.text(st.sampled_from(list("ab1_ \t\r\n()[]{}:;'\"\\#/*+=<>é漢🎉\x00\u2028")), max_size=60))
def test_any_text_is_cut_into_ordered_lexemes_that_miss_nothing(language, code):
    syntax = parse(code, language)
    edges = np.stack([syntax.starts, syntax.ends], axis=1).ravel()
    assert (np.diff(edges) >= 0).all()
    assert (syntax.starts < syntax.ends).all()
    covered = np.zeros(len(code), dtype=bool)
    for start, end in zip(syntax.starts, syntax.ends, strict=True):
        covered[start:end] = True
    rest = "".join(character for character, seen in zip(code, covered, strict=True) if not seen)
    assert not rest.strip()
    check_tree(syntax)


def check_tree(syntax):
    """Preorder, every lexeme is a leaf, a child lies in its parent and is smaller."""
    count = len(syntax.starts)
    assert (syntax.last - syntax.first == 1).sum() == (count if count != 1 else 1)
    for node, parent in enumerate(syntax.parent):
        if parent < 0:
            assert node == 0
            assert (syntax.first[0], syntax.last[0]) == (0, count)
            continue
        assert parent < node
        assert syntax.first[parent] <= syntax.first[node] < syntax.last[node] <= syntax.last[parent]
        assert syntax.last[node] - syntax.first[node] < syntax.last[parent] - syntax.first[parent]


@pytest.mark.parametrize("code", ["", " \n\t", "x = " + "(" * 20_000 + ")" * 20_000, "x = '" + "a" * 100_000 + "'"])
def test_empty_deep_and_long_sources(code):
    check_tree(parse(code, "python"))


def test_an_unknown_language_is_named():
    with pytest.raises(CodekdError, match=r"'cobol'.*python, c, cpp, .*, go or plain"):
        parse("x", "cobol")
