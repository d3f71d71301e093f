"""Embeddings of lexemes without a vocabulary: every run of them has a few rows of a table, which others share.

The idea is that of hashed n-grams (fastText: Bojanowski et al. 2017, arXiv 1607.04606) on lexemes in the place of
characters. ``docs/lexer.md`` has the formula with test vectors.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

PRIME = 2**31 - 1
"""Modulus of the hashes; products of two numbers below it fit into 63 bits."""

CHAIN, SPREAD = 950706376, 742938285
"""Multipliers for this modulus with good lattices (Fishman and Moore 1986, SIAM J. Sci. Stat. Comput. 7)."""

MOST_HASHES = 8
SCALE = 0.1
"""Standard deviation of new embeddings."""


class RunEmbedding(nn.Module):
    """Sum over the runs that begin at a lexeme, ``longest`` of them, and over ``hashes`` rows of each.

    The run of n lexemes at position i is there if all of them are: there it has the key ``k_1 = id_i mod P``,
    ``k_n = (k_{n-1} CHAIN + id_{i+n-1}) mod P``, and for hash h, counted from 0, the row
    ``1 + (k_n (SPREAD^(8 n + h) mod P) mod P) mod (buckets - 1)`` of the table; all with ``P = 2^31 - 1``, in integers
    below 2^63. Row 0 is zero and stands for a run that is not there.

    Args:
        buckets: rows of the table.
        width: of an embedding.
        longest: lexemes in the longest run.
        hashes: rows of a run, 8 at most.
        hidden: width of what comes out, by a linear layer where it is another one.
        padding: id of what is no lexeme.
    """

    def __init__(
        self, buckets: int, width: int, longest: int, hashes: int, hidden: int | None = None, padding: int = 0
    ) -> None:
        super().__init__()
        self.padding, self.longest, self.hashes = padding, longest, hashes
        self.rows = nn.Embedding(buckets, width, padding_idx=0)
        nn.init.normal_(self.rows.weight, std=SCALE)
        with torch.no_grad():
            self.rows.weight[0] = 0
        self.widen = nn.Identity() if hidden in (None, width) else nn.Linear(width, hidden)
        for module in self.modules():
            # Inside an encoder of transformers it would get that encoder's own small embeddings otherwise.
            module._is_hf_initialized = True  # type: ignore[assignment]

    def forward(self, input_ids: Tensor) -> Tensor:
        """``(rows, length, hidden)`` of right-padded ids ``(rows, length)`` int64 from 0 to 2^31 - 1."""
        return self.widen(self.rows(self._buckets(input_ids)).sum(-2))

    def _buckets(self, input_ids: Tensor) -> Tensor:
        """Rows of the table ``(rows, length, longest hashes)``, 0 for a run that is not there."""
        # Few operations on large tensors: in ONNX every one of them costs microseconds.
        keys, there = [input_ids % PRIME], [input_ids.ne(self.padding)]
        for size in range(1, self.longest):
            following = shifted(input_ids, size, self.padding)
            keys.append((keys[-1] * CHAIN + following) % PRIME)
            there.append(there[-1] & following.ne(self.padding))
        of_hashes = input_ids.new_tensor(
            [[multiplier(size, number) for number in range(self.hashes)] for size in range(1, self.longest + 1)]
        )
        key, is_there = (torch.stack(each, dim=-1).unsqueeze(-1) for each in (keys, there))
        return ((key * of_hashes % PRIME % (self.rows.num_embeddings - 1) + 1) * is_there).flatten(-2)


def multiplier(size: int, number: int) -> int:
    """What the key of a run of so many lexemes is multiplied by for the hash of that number."""
    return pow(SPREAD, MOST_HASHES * size + number, PRIME)


def shifted(values: Tensor, places: int, fill: int) -> Tensor:
    """``values`` ``(rows, length)`` moved to the left by so many places, filled up on the right."""
    padded = nn.functional.pad(values, (0, places), value=fill)
    return padded[:, places:]


def token_embedding(
    lexemes: dict[str, int] | None, vocabulary: int, padding: int, hidden: int
) -> RunEmbedding | nn.Embedding:
    """What an encoder reads: hashed ``lexemes``, or tokens of a vocabulary where that is None.

    Both give ``(rows, length, hidden)``.
    """
    if lexemes is not None:
        return RunEmbedding(**lexemes, hidden=hidden, padding=padding)
    return nn.Embedding(vocabulary, hidden, padding_idx=padding)
