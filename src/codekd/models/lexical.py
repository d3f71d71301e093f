"""Hashed embeddings of lexemes, without a vocabulary: every run of lexemes has a few rows of a table that all share.

The idea is that of hashed n-grams (fastText: Bojanowski et al. 2017, arXiv 1607.04606) on lexemes in the place of
characters. ``docs/lexer.md`` has the formula with test vectors.

In shapes, ``rows`` are the sequences of a batch, not rows of the table, and ``length`` is the number of lexemes in the
longest; others are padded on the right with the id 0.
"""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor, nn

PRIME = 2**31 - 1
"""Modulus of the hashes."""

SPREAD = 742938285
"""Multiplier for this modulus with a good lattice (Fishman and Moore 1986, SIAM J. Sci. Stat. Comput. 7)."""

MOST = 8
"""Largest number of lexemes in a run, and of hashes of a run."""

SCALE = 0.1
"""Standard deviation of new embeddings."""


class RunEmbedding(nn.Module):
    """Embedding of a lexeme: the sum of ``hashes`` rows of a table for each of the ``longest`` runs that begin at it.

    The run of n lexemes at position i has for hash h, counted from 0, the row
    ``(id_i m(n, h, 0) + ... + id_{i+n-1} m(n, h, n-1)) mod P mod buckets`` of the table, in integers below 2^63, with
    ``P = 2^31 - 1``, the :func:`multiplier` m, and the id 0 of padding beyond the last lexeme that is read.

    Args:
        buckets: number of the table's rows.
        width: width of a table row.
        longest: lexemes in the longest run, 8 at most; runs have 1 to so many.
        hashes: table rows of a run, 8 at most.
        hidden: width of the output; where it is not ``width``, a linear layer comes last. None for ``width``.
    """

    def __init__(self, buckets: int, width: int, longest: int, hashes: int, hidden: int | None = None) -> None:
        super().__init__()
        self.longest, self.hashes = longest, hashes
        self.rows = nn.Embedding(buckets, width)
        nn.init.normal_(self.rows.weight, std=SCALE)
        self.widen = nn.Identity() if hidden in (None, width) else nn.Linear(width, hidden)
        for module in self.modules():
            # Otherwise an encoder of transformers that holds it would draw its weights anew, and smaller.
            module._is_hf_initialized = True  # type: ignore[assignment]

    def forward(self, input_ids: Tensor) -> Tensor:
        """Embed lexemes as ``(rows, length, hidden)``.

        Args:
            input_ids: ids ``(rows, length)`` int64 from 0 to 2^31 - 1, padded with 0 on the right.
        """
        return self.widen(self.rows(self._buckets(input_ids)).sum(-2))

    def _buckets(self, input_ids: Tensor) -> Tensor:
        """Table rows of the runs that begin at every lexeme, ``(rows, length, longest * hashes)``."""
        # Few operations on large tensors, because in ONNX every operation costs microseconds.
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
    """Hash multiplier of one lexeme in a run.

    Args:
        size: lexemes of the run.
        number: number of the hash, from 0.
        place: place of the lexeme in the run, from 0.
    """
    return pow(SPREAD, MOST * MOST * size + MOST * number + place, PRIME) // MOST


def token_embedding(
    lexemes: dict[str, int] | None, vocabulary: int, padding: int, hidden: int
) -> RunEmbedding | nn.Embedding:
    """Build the input embedding of a student: of hashed lexemes, or of the tokens of a learned vocabulary.

    Args:
        lexemes: arguments of :class:`RunEmbedding`; None for tokens.
        vocabulary: number of token ids.
        padding: id of the padding token.
        hidden: width of the embeddings.

    Returns:
        A module that maps ids ``(rows, length)`` to ``(rows, length, hidden)``.
    """
    if lexemes is not None:
        return RunEmbedding(**lexemes, hidden=hidden)
    return nn.Embedding(vocabulary, hidden, padding_idx=padding)
