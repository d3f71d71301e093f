"""Units of code that relations are taken between: tokens, lexemes, or nodes of the syntax tree.

A unit is a span of characters; its state is the mean of the states of a model's tokens, weighted by the characters in
common, so it is the same unit for every tokenizer. A unit sequence is one piece of code of one example: a pair has two,
and nothing relates one side to the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codekd.data.syntax import Syntax

Ints = NDArray[np.int64]
Short = NDArray[np.int32]
NONE = -1


@dataclass(frozen=True)
class UnitBatch:
    """The units of a batch, one row a sequence, padded on the right.

    ``weights`` ``(sequences, units, tokens)`` average a sequence's token states into those of its units; ``example``
    ``(sequences,)`` is the row of the batch that a sequence belongs to; ``mask`` ``(sequences, units)`` says which
    units there are. For nodes ``parent`` and ``sibling`` ``(sequences, units)`` are where a node's parent and the next
    child of that parent stand among the units, -1 for none.
    """

    weights: Tensor
    example: Tensor
    mask: Tensor
    parent: Tensor | None = None
    sibling: Tensor | None = None

    def states(self, hidden: Tensor) -> Tensor:
        """States ``(sequences, units, width)``, at least float32, of token states ``(batch, length, width)``."""
        hidden = hidden.to(torch.promote_types(hidden.dtype, self.weights.dtype))
        if len(self.example) != len(hidden):
            hidden = hidden[self.example]
        return self.weights.to(hidden.dtype) @ hidden


@dataclass(frozen=True)
class Tokens:
    """The characters ``starts[t]:ends[t]`` of every token, all examples end to end; special tokens have none (-1).

    Example i has the tokens ``offsets[i]:offsets[i + 1]``; those from ``second_start[i]`` on, counted in the example,
    belong to its second piece of code.
    """

    starts: Short
    ends: Short
    offsets: Ints
    second_start: Ints

    def batch(self, rows: Ints, pieces: int, length: int) -> tuple[Short, Short]:
        """Starts and ends ``(sequences, length)`` for every piece of some examples; -1 outside of it."""
        positions = np.arange(length)
        inside = positions < (self.offsets[rows + 1] - self.offsets[rows])[:, None]
        place = np.where(inside, self.offsets[rows][:, None] + positions, 0)
        second = positions >= self.second_start[rows][:, None]
        piece = np.arange(pieces)[:, None]
        inside = inside[:, None] & ((second[:, None] == piece) if pieces > 1 else True)
        starts, ends = (
            np.where(inside, array[place][:, None], NONE).reshape(-1, length) for array in (self.starts, self.ends)
        )
        return starts, ends


@dataclass(frozen=True)
class Units:
    """Units and the tokens they are made of; sequence ``i`` is piece ``i % pieces`` of example ``i // pieces``.

    Unit u of sequence i has the characters ``low[j]:high[j]`` with ``j = cuts[i] + u``, none where the window does not
    show all of it, and for nodes the links ``parent[j]`` and ``sibling[j]``. The window shows no others than
    ``first[i]`` up to ``first[i] + count[i]``.
    """

    pieces: int
    tokens: Tokens
    cuts: Ints
    low: Short
    high: Short
    first: Ints
    count: Ints
    parent: Short | None = None
    sibling: Short | None = None

    def sequences(self, rows: Ints) -> Ints:
        """The sequences of some examples."""
        return (rows[:, None] * self.pieces + np.arange(self.pieces)).ravel()

    def within(self, first: Ints, count: Ints) -> "Units":
        """Only the units that another model's windows ``(sequences,)`` show as well."""
        start = np.maximum(self.first, first)
        end = np.minimum(self.first + self.count, first + count)
        return replace(self, first=start, count=np.maximum(end - start, 0))

    def batch(self, rows: Ints, length: int, device: torch.device) -> UnitBatch:
        """The units of some examples, whose tokens are padded to ``length``."""
        sequences = self.sequences(rows)
        first, count = self.first[sequences, None], self.count[sequences, None]
        index = np.arange(max(1, count.max(initial=0)))
        there = index < count
        place = np.where(there, self.cuts[sequences, None] + first + index, 0)

        def gathered(array: Short, missing: int) -> Short:
            return np.where(there, array[place] if len(array) else missing, missing)

        def linked(array: Short | None) -> Tensor | None:
            if array is None:
                return None
            link = gathered(array, NONE) - first
            return torch.from_numpy(np.where((link >= 0) & (link < count), link, NONE)).to(device)

        low, high, starts, ends = (
            torch.from_numpy(array).to(device, torch.float32)
            for array in (gathered(self.low, 0), gathered(self.high, 0), *self.tokens.batch(rows, self.pieces, length))
        )
        shared = torch.minimum(high[..., None], ends[:, None]) - torch.maximum(low[..., None], starts[:, None])
        shared = shared.clamp_(min=0)
        total = shared.sum(-1)
        return UnitBatch(
            weights=shared.div_(total.clamp(min=1)[..., None]),
            example=torch.arange(len(rows), device=device).repeat_interleave(self.pieces),
            mask=total > 0,
            parent=linked(self.parent),
            sibling=linked(self.sibling),
        )


def ranges(starts: Ints, counts: Ints) -> Ints:
    """``starts[i], ..., starts[i] + counts[i] - 1`` for every i, end to end."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - counts), counts)


def token_units(lengths: Ints) -> Units:
    """Tokens as units, special tokens included: one sequence an example, whatever its pieces."""
    position = ranges(np.zeros_like(lengths), lengths).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    tokens = Tokens(position, position + 1, offsets, lengths)
    return Units(1, tokens, offsets[:-1], position, position + 1, np.zeros_like(lengths), lengths)


def lexeme_units(syntax: Sequence[Sequence[Syntax]], tokens: Tokens) -> Units:
    """Lexemes as units; ``syntax`` is ``[example][piece]``. One that the window cuts is not shown."""
    return _shown([[(piece.starts, piece.ends) for piece in example] for example in syntax], tokens)


def node_units(syntax: Sequence[Sequence[Syntax]], tokens: Tokens) -> Units:
    """Nodes of the syntax tree as units; ``syntax`` is ``[example][piece]``. One that the window cuts is not shown."""
    spans = [[(one.starts[one.first], one.ends[one.last - 1]) for one in example] for example in syntax]
    parents = [one.parent for example in syntax for one in example]
    siblings = [next_siblings(parent) for parent in parents]
    return replace(_shown(spans, tokens), parent=_end_to_end(parents), sibling=_end_to_end(siblings))


def next_siblings(parent: Short) -> Short:
    """For every node the next child of its parent, -1 for the last; nodes are numbered in preorder."""
    order = np.lexsort((np.arange(len(parent)), parent))
    same = parent[order[1:]] == parent[order[:-1]]
    sibling = np.full(len(parent), NONE, dtype=np.int32)
    sibling[order[:-1][same]] = order[1:][same]
    return sibling


def _shown(spans: Sequence[Sequence[tuple[Short, Short]]], tokens: Tokens) -> Units:
    """Units with given spans ``[example][piece]``, those emptied that the window does not show whole."""
    pieces = len(spans[0]) if spans else 1
    first, count = np.zeros((2, len(spans) * pieces), dtype=np.int64)
    lows, highs = [], []
    for row, example in enumerate(spans):
        begin, end = tokens.offsets[row], tokens.offsets[row + 1]
        cut = begin + tokens.second_start[row]
        for piece, (part, (low, high)) in enumerate(zip(((begin, cut), (cut, end)), example, strict=False)):
            starts, ends = tokens.starts[slice(*part)], tokens.ends[slice(*part)]
            real = starts >= 0
            whole = (low >= starts.min(where=real, initial=np.iinfo(np.int32).max)) & (high <= ends.max(initial=NONE))
            (index,) = whole.nonzero()
            if len(index):
                first[row * pieces + piece], count[row * pieces + piece] = index[0], index[-1] + 1 - index[0]
            lows.append(low * whole)
            highs.append(high * whole)
    cuts = np.cumsum([0, *(len(low) for low in lows)])[:-1]
    return Units(pieces, tokens, cuts, _end_to_end(lows), _end_to_end(highs), first, count)


def _end_to_end(arrays: Sequence[Short]) -> Short:
    return np.concatenate([np.empty(0, dtype=np.int32), *arrays]).astype(np.int32)
