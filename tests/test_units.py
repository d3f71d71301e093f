"""Lexemes in a model's own tokens: weighted by characters in common, hidden where a window cuts them."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from codekd.data.lexemes import parse
from codekd.data.units import Tokens, lexeme_units, next_siblings, node_units, token_units

CODE = "def größe(x):\n\treturn x + 'a b'\n"
CPU = torch.device("cpu")


def tokens_of(code, cuts):
    """Tokens that a made-up tokenizer cuts at some characters, as (start, end)."""
    edges = [0, *sorted(set(cuts) & set(range(1, len(code)))), len(code)]
    return list(pairwise(edges))


def units_of(pieces, make=lexeme_units):
    """Units of one example; ``pieces`` are (code, the tokens of it that a window shows)."""
    spans, second = [(-1, -1)], 0
    for _, tokens in pieces:
        spans += [*tokens, (-1, -1)]
        second = second or len(spans)
    starts, ends = np.array(spans).T
    syntax = [[parse(code, "python") for code, _ in pieces]]
    tokens = Tokens(starts.astype(np.int32), ends.astype(np.int32), np.array([0, len(spans)]), np.array([second]))
    return make(syntax, tokens)


def naive_states(code, tokens, hidden):
    """Lexeme -> mean of its tokens' states by characters in common; None for one that the window cuts."""
    found = []
    syntax = parse(code, "python")
    for start, end in zip(syntax.starts, syntax.ends, strict=True):
        shared = [max(0, min(end, high) - max(start, low)) for low, high in tokens]
        whole = tokens and start >= tokens[0][0] and end <= tokens[-1][1] and sum(shared)
        state = sum(share * row for share, row in zip(shared, hidden, strict=True)) / sum(shared) if whole else None
        found.append(state)
    return found


def weights_of(batch, length):
    """Weight of every token in every unit ``(sequences, units, length)``, of a batch of one example."""
    return batch.states(torch.eye(length).unsqueeze(0))


@given(cuts=st.lists(st.integers(1, len(CODE) - 1)), window=st.tuples(st.integers(0, 40), st.integers(0, 40)))
def test_states_are_those_of_the_naive_formula_for_any_tokenizer_and_window(cuts, window):
    tokens = tokens_of(CODE, cuts)[slice(*sorted(window))]
    hidden = np.random.default_rng(1).normal(size=(len(tokens) + 2, 3))
    expected = naive_states(CODE, tokens, hidden[1:-1])
    units = units_of([(CODE, tokens)])
    batch = units.batch(np.array([0]), len(hidden), CPU)
    states = batch.states(torch.from_numpy(hidden)[None])[0]
    shown = [index for index, state in enumerate(expected) if state is not None]
    assert shown == [int(units.first[0]) + index for index in batch.mask[0].nonzero().ravel().tolist()]
    for index in shown:
        np.testing.assert_allclose(states[index - units.first[0]], expected[index], rtol=1e-5, atol=1e-6)


def test_a_pair_has_two_sequences_that_know_their_own_tokens():
    first, second = "a = b", "return c"
    tokens = [tokens_of(first, [1, 2, 3, 4]), tokens_of(second, [6])]
    batch = units_of([(first, tokens[0]), (second, tokens[1])]).batch(np.array([0]), 12, CPU)
    assert batch.mask.tolist() == [[True, True, True], [True, True, False]]
    places = [[weights.nonzero().ravel().tolist() for weights in sequence] for sequence in weights_of(batch, 12)]
    assert places == [[[1], [3], [5]], [[7], [8], []]]


def test_only_what_both_windows_show_is_compared():
    tokens = tokens_of("a b c d e", range(9))
    here = units_of([("a b c d e", tokens[:7])])
    there = units_of([("a b c d e", tokens[2:])])
    both = here.within(there.first, there.count)
    assert (both.first[0], both.count[0]) == (1, 3)
    places = weights_of(both.batch(np.array([0]), 12, CPU), 12)[0].argmax(-1)
    assert places.tolist() == [3, 5, 7]
    assert here.within(np.array([7]), np.array([2])).count[0] == 0


def test_padding_has_no_weight():
    units = units_of([("a b", tokens_of("a b", [1, 2]))])
    weights = weights_of(units.batch(np.array([0]), 9, CPU), 9)
    assert (weights[..., 5:] == 0).all()


def test_tokens_are_units_too():
    units = token_units(np.array([2, 3]))
    batch = units.batch(np.array([1, 0]), 3, CPU)
    hidden = torch.randn(2, 3, 4)
    assert batch.mask.tolist() == [[True, True, True], [True, True, False]]
    torch.testing.assert_close(batch.states(hidden) * batch.mask[..., None], hidden * batch.mask[..., None])


@pytest.mark.parametrize("code", ["", "   "])
def test_code_without_a_lexeme_has_no_unit(code):
    units = units_of([(code, tokens_of(code, []) if code else [])])
    assert units.count.tolist() == [0]
    assert not units.batch(np.array([0]), 4, CPU).mask.any()


NESTED = "f(a, b + 1)\nreturn c"


def text_of(code):
    """What each node of a piece of code spans."""
    syntax = parse(code, "python")
    return [code[syntax.starts[one] : syntax.ends[two - 1]] for one, two in zip(syntax.first, syntax.last, strict=True)]


def test_nodes_are_spans_with_links_to_parent_and_next_sibling():
    text, tokens = text_of(NESTED), tokens_of(NESTED, [1, 2, 3, 6, 8, 9, 10, 12, 18])
    batch = units_of([(NESTED, tokens)], node_units).batch(np.array([0]), len(tokens) + 2, CPU)
    assert batch.mask.all()
    inner = text.index("b + 1")
    assert text[batch.parent[0, inner]] == "(a, b + 1)"
    assert text[batch.sibling[0, inner]] == ")"
    assert batch.sibling[0, text.index(")")] == -1
    assert text[batch.sibling[0, text.index("f(a, b + 1)")]] == "return c"
    assert batch.parent[0, 0] == batch.sibling[0, 0] == -1
    shares = weights_of(batch, len(tokens) + 2)
    weights = {NESTED[slice(*token)]: share for token, share in zip(tokens, shares[0, inner, 1:-1], strict=True)}
    shared = {", b": 0.2, " +": 0.4, " ": 0.2, "1": 0.2}
    assert {token: share.item() for token, share in weights.items() if share} == pytest.approx(shared)


def test_a_node_that_the_window_cuts_is_not_shown_and_the_links_of_others_stay_right():
    text, tokens = text_of(NESTED), tokens_of(NESTED, range(len(NESTED)))
    units = units_of([(NESTED, tokens[4:])], node_units)
    batch = units.batch(np.array([0]), len(NESTED), CPU)
    seen = text[units.first[0] :]
    shown = [node for node, there in zip(seen, batch.mask[0], strict=True) if there]
    assert shown == ["b + 1", "b", "+", "1", ")", "return c", "return", "c"]
    linked = (batch.parent[0] >= 0) & batch.mask[0]
    links = [(seen[node], seen[batch.parent[0, node]]) for node in linked.nonzero().ravel().tolist()]
    parents = {"b": "b + 1", "+": "b + 1", "1": "b + 1", "return": "return c", "c": "return c"}
    assert dict(links) == parents


def test_siblings_are_the_children_of_a_parent_in_order():
    assert next_siblings(np.array([-1, 0, 1, 1, 0, 4, 0], dtype=np.int32)).tolist() == [-1, 4, 3, -1, 6, -1, -1]
    assert next_siblings(np.array([], dtype=np.int32)).tolist() == []
