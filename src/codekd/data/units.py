"""Units that relations are taken between, in a model's own tokens: lexemes by character overlap, or tokens.

A unit sequence is one piece of code of one example: a pair has two, and nothing relates one side to the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codekd.data.syntax import Syntax

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class UnitBatch:
    """The units of a batch, one row a sequence, padded on the right.

    ``weights`` ``(sequences, units, tokens)`` average a sequence's token states into those of its units; ``example``
    ``(sequences,)`` is the row of the batch that a sequence belongs to; ``mask`` ``(sequences, units)`` says which
    units there are.
    """

    weights: Tensor
    example: Tensor
    mask: Tensor

    def states(self, hidden: Tensor) -> Tensor:
        """States ``(sequences, units, width)``, at least float32, of token states ``(batch, length, width)``."""
        hidden = hidden.to(torch.promote_types(hidden.dtype, self.weights.dtype))
        if len(self.example) != len(hidden):
            hidden = hidden[self.example]
        return self.weights.to(hidden.dtype) @ hidden


@dataclass(frozen=True)
class Units:
    """Which tokens make which unit; sequence ``i`` is piece ``i % pieces`` of example ``i // pieces``.

    Sequence i shows the units ``first[i]`` up to ``first[i] + count[i]``, counted over the whole piece, cut or not.
    Its overlaps are at ``cuts[i]:cuts[i + 1]`` of ``unit``, ``token`` (a position in the example) and ``weight``
    (characters in common).
    """

    pieces: int
    first: Ints
    count: Ints
    cuts: Ints
    unit: Ints
    token: Ints
    weight: NDArray[np.float32]

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
        first, count = self.first[sequences], self.count[sequences]
        begin, pairs = self.cuts[sequences], self.cuts[sequences + 1] - self.cuts[sequences]
        place = ranges(begin, pairs)
        sequence = np.repeat(np.arange(len(sequences)), pairs)
        unit = self.unit[place] - first[sequence]
        seen = (unit >= 0) & (unit < count[sequence])
        weights = np.zeros((len(sequences), max(1, count.max(initial=0)), length), dtype=np.float32)
        weights[sequence[seen], unit[seen], self.token[place][seen]] = self.weight[place][seen]
        total = weights.sum(-1, keepdims=True)
        np.divide(weights, total, out=weights, where=total > 0)
        return UnitBatch(
            weights=torch.from_numpy(weights).to(device),
            example=torch.arange(len(rows), device=device).repeat_interleave(self.pieces),
            mask=torch.from_numpy(total[..., 0] > 0).to(device),
        )


def ranges(starts: Ints, counts: Ints) -> Ints:
    """``starts[i], ..., starts[i] + counts[i] - 1`` for every i, end to end."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - counts), counts)


def lexeme_units(
    syntax: Sequence[Sequence[Syntax]], starts: Ints, ends: Ints, offsets: Ints, second_start: Ints
) -> Units:
    """Lexemes as units: a lexeme's state is the mean of its tokens' states, weighted by the characters in common.

    A lexeme that the window cuts is not shown, nor is one that no token covers.

    Args:
        syntax: ``[example][piece]``.
        starts: characters where tokens begin, all examples end to end; -1 for special tokens.
        ends: characters where they end.
        offsets: example i has the tokens ``offsets[i]:offsets[i + 1]``.
        second_start: position of the first token of an example's second piece.
    """
    pieces = len(syntax[0]) if syntax else 1
    first, count = np.zeros((2, len(syntax) * pieces), dtype=np.int64)
    overlaps: list[tuple[Ints, Ints, Ints]] = []
    for row, example in enumerate(syntax):
        begin, end = offsets[row], offsets[row + 1]
        cut = begin + second_start[row]
        for piece, (low, high) in enumerate([(begin, cut), (cut, end)][:pieces]):
            real = starts[low:high] >= 0
            tokens = np.flatnonzero(real) + low - begin
            sequence = row * pieces + piece
            first[sequence], count[sequence], found = _overlaps(
                example[piece], starts[low:high][real], ends[low:high][real]
            )
            overlaps.append((found[0], tokens[found[1]], found[2]))
    cuts = np.cumsum([0, *(len(unit) for unit, _, _ in overlaps)])
    unit, token, weight = (np.concatenate(column) for column in zip(*overlaps, strict=True))
    return Units(pieces, first, count, cuts, unit, token, weight.astype(np.float32))


def _overlaps(syntax: Syntax, starts: Ints, ends: Ints) -> tuple[int, int, tuple[Ints, Ints, Ints]]:
    """First visible lexeme, number of them, and (lexeme, token, characters in common) of one piece."""
    if not len(starts):
        empty = np.empty(0, dtype=np.int64)
        return 0, 0, (empty, empty, empty)
    left, right = np.searchsorted(syntax.starts, starts[0]), np.searchsorted(syntax.ends, ends.max(), side="right")
    shown = slice(left, max(left, right))
    low, high = syntax.starts[shown], syntax.ends[shown]
    begin = np.searchsorted(ends, low, side="right")
    pairs = np.maximum(np.searchsorted(starts, high) - begin, 0)
    token = ranges(begin, pairs)
    unit = np.repeat(np.arange(len(low)), pairs)
    weight = np.minimum(ends[token], high[unit]) - np.maximum(starts[token], low[unit])
    return int(left), len(low), (unit + left, token, weight)


def token_units(lengths: Ints) -> Units:
    """Tokens as units, special tokens included: one sequence an example, whatever its pieces."""
    position = ranges(np.zeros_like(lengths), lengths)
    cuts = np.concatenate([[0], np.cumsum(lengths)])
    return Units(1, np.zeros_like(lengths), lengths, cuts, position, position, np.ones(len(position), dtype=np.float32))
