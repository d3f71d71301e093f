"""Embeddings of lexemes without a vocabulary: every run of them has a few rows of a table, which others share.

The idea is that of hashed n-grams (fastText: Bojanowski et al. 2017, arXiv 1607.04606) on lexemes in the place of
characters. ``docs/lexer.md`` has the formula with test vectors.
"""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor, nn

PRIME = 2**31 - 1
"""Modulus of the hashes."""

SPREAD = 742938285
"""A multiplier for this modulus with a good lattice (Fishman and Moore 1986, SIAM J. Sci. Stat. Comput. 7)."""

MOST = 8
"""Lexemes of a run, and rows of it."""

SCALE = 0.1
"""Standard deviation of new embeddings."""


class RunEmbedding(nn.Module):
    """Sum over the runs that begin at a lexeme, ``longest`` of them, and over ``hashes`` rows of each.

    The run of n lexemes at position i has for hash h, counted from 0, the row
    ``(id_i m(n, h, 0) + ... + id_{i+n-1} m(n, h, n-1)) mod P mod buckets`` of the table, in integers below 2^63, with
    ``P = 2^31 - 1``, the :func:`multiplier` m, and the id 0 of padding beyond the last lexeme that is read.

    Args:
        buckets: rows of the table.
        width: of an embedding.
        longest: lexemes in the longest run, 8 at most.
        hashes: rows of a run, 8 at most.
        hidden: width of what comes out, by a linear layer where it is another one.
    """

    def __init__(self, buckets: int, width: int, longest: int, hashes: int, hidden: int | None = None) -> None:
        super().__init__()
        self.longest, self.hashes = longest, hashes
        self.rows = nn.Embedding(buckets, width)
        nn.init.normal_(self.rows.weight, std=SCALE)
        self.widen = nn.Identity() if hidden in (None, width) else nn.Linear(width, hidden)
        for module in self.modules():
            # Inside an encoder of transformers it would get that encoder's own small embeddings otherwise.
            module._is_hf_initialized = True  # type: ignore[assignment]

    def forward(self, input_ids: Tensor) -> Tensor:
        """``(rows, length, hidden)`` of ids ``(rows, length)`` int64 from 0 to 2^31 - 1, padded with 0 on the right."""
        return self.widen(self.rows(self._buckets(input_ids)).sum(-2))

    def _buckets(self, input_ids: Tensor) -> Tensor:
        """Rows of the table ``(rows, length, longest hashes)``."""
        # Few operations on large tensors: in ONNX every one of them costs microseconds.
        last = self.longest - 1
        padded = nn.functional.pad(input_ids, (0, last)).unsqueeze(-1)
        sizes, hashes = range(1, self.longest + 1), range(self.hashes)
        parts = [
            padded[:, place : place - last or None]
            * input_ids.new_tensor([multiplier(n, h, place) if place < n else 0 for n in sizes for h in hashes])
            for place in range(self.longest)
        ]
        return reduce(torch.add, parts) % PRIME % self.rows.num_embeddings


def multiplier(size: int, number: int, place: int) -> int:
    """What the lexeme at a place of a run of so many lexemes is multiplied by for the hash of that number."""
    return pow(SPREAD, MOST * MOST * size + MOST * number + place, PRIME) // MOST


def token_embedding(
    lexemes: dict[str, int] | None, vocabulary: int, padding: int, hidden: int
) -> RunEmbedding | nn.Embedding:
    """What an encoder reads: hashed ``lexemes``, or tokens of a vocabulary where that is None.

    Both give ``(rows, length, hidden)``.
    """
    if lexemes is not None:
        return RunEmbedding(**lexemes, hidden=hidden)
    return nn.Embedding(vocabulary, hidden, padding_idx=padding)
