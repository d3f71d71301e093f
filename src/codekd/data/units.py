"""Units of code that relations are taken between: tokens, lexemes, or nodes of the syntax tree.

A unit is a span of characters; its state is the mean of the states of a model's tokens, weighted by the characters in
common, so it is the same unit for every tokenizer. A unit sequence is one piece of code of one example: a pair has two,
and nothing relates one side to the other.

Shapes: ``examples`` of a set, or ``batch`` of them; ``pieces`` of code of each, so ``sequences = examples * pieces``;
``units`` of the longest sequence of a batch; ``length`` tokens of a padded row of the model's input; ``width`` of a
state; ``parts``, one for every pair of a unit and a token with characters in common. ``(all units,)`` and
``(all tokens,)`` are those of all examples, end to end.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import embedding_bag

from codekd.data.syntax import Syntax

Ints = NDArray[np.int64]
Short = NDArray[np.int32]
NONE = -1
"""Index of a parent or sibling that a node does not have, and offset of tokens without characters."""


@dataclass(frozen=True)
class UnitBatch:
    """Units of a batch, one row a sequence, padded on the right.

    Attributes:
        mask: bool ``(sequences, units)``, whether there is a unit.
        tokens: int64 ``(parts,)``, unit by unit the places of their tokens in the model's rows laid flat.
        shares: float32 ``(parts,)``, the weights of these tokens' states in the mean of their unit.
        begins: int64 ``(sequences * units,)``, where the parts of each unit begin.
        parent: int64 ``(sequences, units)``, of nodes the place of the parent in the row, -1 for none.
        sibling: int64 ``(sequences, units)``, of nodes the place of the parent's next child, -1 for none.
    """

    mask: Tensor
    tokens: Tensor
    shares: Tensor
    begins: Tensor
    parent: Tensor | None = None
    sibling: Tensor | None = None

    def states(self, hidden: Tensor) -> Tensor:
        """Mean states of units ``(sequences, units, width)``, at least float32.

        Args:
            hidden: token states ``(rows, length, width)``; a row is an example, or a piece that the model reads apart.
        """
        hidden = hidden.to(torch.promote_types(hidden.dtype, self.shares.dtype)).flatten(0, 1)
        shares = self.shares.to(hidden.dtype)
        states = embedding_bag(self.tokens, hidden, self.begins, mode="sum", per_sample_weights=shares)
        return states.unflatten(0, self.mask.shape)

    def content(self) -> Tensor:
        """Keys of units, int64 ``(sequences, units)``: equal for units of the same tokens in the same shares.

        Such units have the same state in every model.
        """
        count = self.begins.diff(append=self.begins.new_tensor([len(self.tokens)]))
        first, last = (place.clamp(0, max(0, len(self.tokens) - 1)) for place in (self.begins, self.begins + count - 1))
        if not len(self.tokens):
            return torch.zeros_like(self.mask, dtype=torch.int64)
        ends = torch.stack([self.tokens[first], count, self.shares[first], self.shares[last]])
        return ends.double().unique(dim=1, return_inverse=True)[1].view(self.mask.shape)


@dataclass(frozen=True)
class Tokens:
    """Tokens of a set of examples, end to end, with their characters.

    Attributes:
        starts: int32 ``(all tokens,)``; token t has the characters ``starts[t]:ends[t]`` of its piece.
        ends: int32 ``(all tokens,)``; both are -1 of special tokens.
        offsets: ``(examples + 1,)``; example i has the tokens ``offsets[i]:offsets[i + 1]``.
        second_start: ``(examples,)``, the first token of each example's second piece, counted in the example.
        apart: whether the model has a row for each piece.
    """

    starts: Short
    ends: Short
    offsets: Ints
    second_start: Ints
    apart: bool = False


@dataclass(frozen=True)
class Units:
    """Units of a set of examples; sequence ``i`` is piece ``i % pieces`` of example ``i // pieces``.

    Attributes:
        pieces: pieces of code of each example.
        tokens: the tokens that units are made of.
        cuts: ``(sequences,)``; unit u of sequence i stands at ``j = cuts[i] + u`` among all units.
        low, high: ``(all units,)``; unit j has the characters ``low[j]:high[j]`` of its piece.
        begin: ``(all units,)``, the first token of each unit, counted in its example.
        size: ``(all units,)``, the number of its tokens; 0 where the window does not show all of the unit.
        first, count: ``(sequences,)``; the window shows no units but ``first[i]`` up to ``first[i] + count[i]``.
        parent: ``(all units,)``, of nodes the index of the parent in the sequence, -1 for none.
        sibling: ``(all units,)``, of nodes the index of the parent's next child, -1 for none.
    """

    pieces: int
    tokens: Tokens
    cuts: Ints
    low: Short
    high: Short
    begin: Short
    size: Short
    first: Ints
    count: Ints
    parent: Short | None = None
    sibling: Short | None = None

    def sequences(self, rows: Ints) -> Ints:
        """Indices of the sequences ``(batch * pieces,)`` of the examples with the indices ``rows`` ``(batch,)``."""
        return (rows[:, None] * self.pieces + np.arange(self.pieces)).ravel()

    def within(self, first: Ints, count: Ints) -> "Units":
        """Units that another model's windows show as well.

        Args:
            first: index of the first unit in each of those windows, ``(sequences,)``.
            count: number of units in each, ``(sequences,)``.
        """
        start = np.maximum(self.first, first)
        end = np.minimum(self.first + self.count, first + count)
        return replace(self, first=start, count=np.maximum(end - start, 0))

    def batch(self, rows: Ints, length: int, device: torch.device) -> UnitBatch:
        """Units of some examples as tensors.

        Args:
            rows: indices of the examples, ``(batch,)``.
            length: tokens of a row of the model's input, padding included.
            device: where the tensors are put.
        """
        sequences = self.sequences(rows)
        first, count = self.first[sequences, None], self.count[sequences, None]
        index = np.arange(max(1, count.max(initial=0)))
        shown = index < count
        unit = (self.cuts[sequences, None] + first + index)[shown]

        def spread(values: NDArray[Any], missing: int) -> NDArray[Any]:
            table = np.full(shown.shape, missing, dtype=values.dtype)
            table[shown] = values
            return table

        def linked(links: Short | None) -> Tensor | None:
            if links is None:
                return None
            link = spread(links[unit].astype(np.int64), NONE) - first
            return torch.from_numpy(np.where((link >= 0) & (link < count), link, NONE)).to(device)

        size = self.size[unit].astype(np.int64)
        owner = np.repeat(np.arange(len(unit)), size)
        part = ranges(self.begin[unit].astype(np.int64), size)
        example = np.repeat(shown.nonzero()[0] // self.pieces, size)
        token = self.tokens.offsets[rows[example]] + part
        row, position = example, part
        if self.tokens.apart:
            cut = self.tokens.second_start[rows[example]]
            row, position = 2 * example + (part >= cut), part - cut * (part >= cut)
        shared = np.minimum(self.high[unit][owner], self.tokens.ends[token])
        shared = np.maximum(shared - np.maximum(self.low[unit][owner], self.tokens.starts[token]), 0)
        total = np.bincount(owner, shared, minlength=len(unit))
        parts = spread(size, 0).ravel()
        tensors = {
            "mask": spread(total > 0, False),
            "tokens": row * length + position,
            "shares": (shared / np.maximum(total, 1)[owner]).astype(np.float32),
            "begins": np.cumsum(parts) - parts,
        }
        return UnitBatch(
            **{name: torch.from_numpy(array).to(device) for name, array in tensors.items()},
            parent=linked(self.parent),
            sibling=linked(self.sibling),
        )


def ranges(starts: Ints, counts: Ints) -> Ints:
    """Ranges of integers, end to end: ``starts[i], ..., starts[i] + counts[i] - 1`` for every i."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - counts), counts)


def token_units(lengths: Ints, second_start: Ints | None = None, apart: bool = False) -> Units:
    """Tokens as units, special tokens included: one sequence an example, whatever its pieces.

    Args:
        lengths: tokens of each example, ``(examples,)``.
        second_start: the first token of each example's second piece, ``(examples,)``; by default there is none.
        apart: whether the model has a row for each piece.
    """
    position = ranges(np.zeros_like(lengths), lengths).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    tokens = Tokens(position, position + 1, offsets, lengths if second_start is None else second_start, apart)
    spans = (position, position + 1, position, np.ones_like(position))
    return Units(1, tokens, offsets[:-1], *spans, np.zeros_like(lengths), lengths)


def lexeme_units(syntax: Sequence[Sequence[Syntax]], tokens: Tokens) -> Units:
    """Lexemes as units, without those that the window of ``tokens`` cuts; ``syntax`` is ``[example][piece]``."""
    return _shown([[(piece.starts, piece.ends) for piece in example] for example in syntax], tokens)


def node_units(syntax: Sequence[Sequence[Syntax]], tokens: Tokens) -> Units:
    """Nodes of syntax trees as units, without those that the window cuts; ``syntax`` is ``[example][piece]``."""
    spans = [[(one.starts[one.first], one.ends[one.last - 1]) for one in example] for example in syntax]
    parents = [one.parent for example in syntax for one in example]
    siblings = [next_siblings(parent) for parent in parents]
    return replace(_shown(spans, tokens), parent=_end_to_end(parents), sibling=_end_to_end(siblings))


def next_siblings(parent: Short) -> Short:
    """Next child of the same parent for every node, int32 ``(nodes,)``, -1 for the last child.

    Args:
        parent: the parent of every node, ``(nodes,)``; nodes are numbered in preorder.
    """
    order = np.lexsort((np.arange(len(parent)), parent))
    same = parent[order[1:]] == parent[order[:-1]]
    sibling = np.full(len(parent), NONE, dtype=np.int32)
    sibling[order[:-1][same]] = order[1:][same]
    return sibling


def _shown(spans: Sequence[Sequence[tuple[Short, Short]]], tokens: Tokens) -> Units:
    """Units with the spans ``[example][piece]``; one that the window does not show whole has no tokens."""
    pieces = len(spans[0]) if spans else 1
    first, count = np.zeros((2, len(spans) * pieces), dtype=np.int64)
    lows, highs, begins, sizes = [], [], [], []
    for row, example in enumerate(spans):
        begin, end = tokens.offsets[row], tokens.offsets[row + 1]
        cut = begin + tokens.second_start[row]
        for piece, (part, (low, high)) in enumerate(zip(((begin, cut), (cut, end)), example, strict=False)):
            real = tokens.starts[slice(*part)] >= 0
            # Special tokens stand around the others, never between them, so that these are one slice.
            start = part[0] + real.argmax()
            inside = slice(start, start + real.sum())
            starts, ends = tokens.starts[inside], tokens.ends[inside]
            whole = (low >= starts.min(initial=np.iinfo(np.int32).max)) & (high <= ends.max(initial=NONE))
            (index,) = whole.nonzero()
            if len(index):
                first[row * pieces + piece], count[row * pieces + piece] = index[0], index[-1] + 1 - index[0]
            before, after = np.searchsorted(ends, low, side="right"), np.searchsorted(starts, high, side="left")
            lows.append(low)
            highs.append(high)
            begins.append(start - begin + before)
            sizes.append((after - before) * whole)
    cuts = np.cumsum([0, *(len(low) for low in lows)])[:-1]
    low, high, begin, size = map(_end_to_end, (lows, highs, begins, sizes))
    return Units(pieces, tokens, cuts, low, high, begin, size, first, count)


def _end_to_end(arrays: Sequence[Short]) -> Short:
    return np.concatenate([np.empty(0, dtype=np.int32), *arrays]).astype(np.int32)
