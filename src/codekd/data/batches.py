"""Encoded examples and signals in memory, and the batches made of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from codekd.data.inputs import Inputs, padded
from codekd.data.labels import UNLABELLED
from codekd.data.rows import Captured
from codekd.data.splits import UNLABELED
from codekd.data.syntax import syntax_of
from codekd.data.units import Tokens, UnitBatch, Units, lexeme_units, node_units, ranges, token_units
from codekd.models.vocabulary import Vocabulary, read_vocabulary

WINDOW = 50

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """Right-padded sequences: ``input_ids``, ``attention_mask`` and ``token_type_ids`` are ``(batch, length)`` int64.

    Where sides are apart they are ``(2 batch, length)``: rows 2i and 2i + 1 are the two sides of example i.
    ``rows`` ``(batch,)`` int64 are the examples' places in the set; ``labels`` ``(batch,)`` are -1 where there is
    none; ``teacher`` maps a signal's kind to its rows of this batch; ``units`` are those of the student's sequences
    that the teacher shows too, where a signal has rows by unit. ``shown`` is what the model reads,
    ``input_ids`` with the words that were dropped masked. ``class_weights`` ``(classes,)`` are those of the hard loss,
    all one if None. ``whole`` is the batch that this one is a part of, if it is a part.
    """

    rows: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    token_type_ids: Tensor
    labels: Tensor
    teacher: Mapping[str, Tensor]
    units: UnitBatch | None
    shown: Tensor
    class_weights: Tensor | None = None
    whole: "Batch | None" = None

    def share(self, count: Callable[["Batch"], Tensor]) -> Tensor | float:
        """Factor of a mean over what examples have different numbers of, such as labels or units.

        ``count(batch)`` says how many a batch has, or what they weigh. The loss of a part is weighted by its share of
        the examples; with this factor a mean is weighted by its share of what is counted, so that those of all parts
        add up to the mean of the whole. One for a batch that is no part.
        """
        if self.whole is None:
            return 1.0
        here, there = (count(batch).double() for batch in (self, self.whole))
        return here / there.where(there > 0, 1) * (len(self.whole.rows) / len(self.rows))


@dataclass(frozen=True)
class Encoded:
    """Resident examples: all sequences end to end in ``tokens``, that of row i at ``offsets[i]:offsets[i + 1]``.

    ``signals`` maps a signal's kind to what was captured; ``units`` are needed where that is by unit.
    ``class_weights`` ``(classes,)`` float32 are those of the hard loss, all one if None.
    """

    ids: list[str]
    labels: NDArray[np.int64]
    tokens: NDArray[np.int32]
    offsets: NDArray[np.int64]
    second_start: NDArray[np.int32]
    vocabulary: Vocabulary
    signals: Mapping[str, Captured]
    units: Units | None = None
    class_weights: NDArray[np.float32] | None = None

    @classmethod
    def of_rows(cls, rows: Sequence[Mapping[str, Any]], vocabulary: Vocabulary) -> "Encoded":
        """Examples without ids and labels, of rows that an encoding made."""
        return cls(
            ids=[""] * len(rows),
            labels=np.full(len(rows), UNLABELLED, dtype=np.int64),
            tokens=np.concatenate([row["input_ids"] for row in rows]),
            offsets=np.concatenate([[0], np.cumsum([row["length"] for row in rows])]),
            second_start=np.array([row["second_start"] for row in rows], dtype=np.int32),
            vocabulary=vocabulary,
            signals={},
        )

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Rows) -> "Encoded":
        """The examples at some rows, which may be named more than once; of a set without signals."""
        lengths = self.lengths[rows]
        return replace(
            self,
            ids=[self.ids[row] for row in rows],
            labels=self.labels[rows],
            tokens=self.tokens[ranges(self.offsets[rows], lengths)],
            offsets=np.concatenate([[0], np.cumsum(lengths)]),
            second_start=self.second_start[rows],
        )

    @property
    def apart(self) -> bool:
        """Whether the two sides of a pair are sequences of their own."""
        return self.vocabulary.sides_apart

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens per example."""
        return np.diff(self.offsets)

    @property
    def padded_lengths(self) -> NDArray[np.int64]:
        """Tokens that each example takes in a batch of its own: twice those of the longer of sides that are apart."""
        if not self.apart:
            return self.lengths
        return 2 * np.maximum(self.second_start, self.lengths - self.second_start)

    def inputs(self, rows: Rows) -> Inputs:
        """What a model reads of the examples at some rows, padded to the longest of them."""
        lengths, second = self.lengths[rows], self.second_start[rows]
        if self.apart:
            # Both sides follow each other in the tokens of an example as they do in the rows of a batch.
            lengths = np.column_stack([second, lengths - second]).ravel()
            second = np.tile(np.array([np.iinfo(np.int32).max, 0], dtype=np.int32), len(rows))
        tokens = np.concatenate([self.tokens[self.offsets[row] : self.offsets[row + 1]] for row in rows])
        return padded(tokens, lengths, second, self.vocabulary.pad_id)

    def batch(self, rows: Rows, device: torch.device) -> Batch:
        """The examples at some rows, padded to the longest of them."""
        inputs = self.inputs(rows)
        tokens, mask, segments = (torch.from_numpy(values).to(device) for values in inputs)
        weights = self.class_weights
        return Batch(
            rows=torch.from_numpy(rows).to(device),
            input_ids=tokens,
            attention_mask=mask,
            token_type_ids=segments,
            labels=torch.from_numpy(self.labels[rows]).to(device),
            teacher={kind: signal.batch(rows, self.units, device) for kind, signal in self.signals.items()},
            units=self.units.batch(rows, mask.shape[1], device) if self.units else None,
            shown=tokens,
            class_weights=None if weights is None else torch.from_numpy(weights).to(device),
        )

    def part(self, whole: Batch, places: Rows) -> Batch:
        """The examples at some places of a batch of these, as a part of it."""
        part = self.batch(whole.rows.cpu().numpy()[places], whole.rows.device)
        rows = (2 * places[:, None] + np.arange(2)).ravel() if self.apart else places
        return replace(part, shown=whole.shown[rows, : part.shown.shape[1]], whole=whole)


def shards(encoded: Path, split: str, unlabeled: int | None = None) -> list[int]:
    """How many examples each shard of a split has; of unlabelled ones the first ``unlabeled``, or all."""
    metadata = pq.read_metadata(encoded / f"{split}.parquet")
    sizes = np.array([metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)], dtype=np.int64)
    if split == UNLABELED and unlabeled is not None:
        sizes = np.minimum(sizes, unlabeled - (np.cumsum(sizes) - sizes))
    return [int(size) for size in sizes if size > 0]


def load_encoded(
    folder: Path, splits: Sequence[str], shard: int | None = None, unlabeled: int | None = None
) -> Encoded:
    """Read splits of an ``encoded`` folder, or one shard of each, as one set without signals.

    Of unlabelled examples the first ``unlabeled``, or all.
    """
    table = _read(folder, splits, shard, ["id", "label", "input_ids", "second_start"], unlabeled)
    sequences = table["input_ids"].combine_chunks()
    lengths = np.asarray(sequences.value_lengths(), dtype=np.int64)
    return Encoded(
        ids=table["id"].to_pylist(),
        labels=table["label"].to_numpy().astype(np.int64),
        tokens=sequences.flatten().to_numpy(),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        second_start=table["second_start"].to_numpy(),
        vocabulary=read_vocabulary(folder),
        signals={},
    )


def load_units(
    kind: str,
    data: Encoded,
    encoded: Path,
    syntax: Path | None,
    splits: Sequence[str],
    shard: int | None = None,
    unlabeled: int | None = None,
) -> Units:
    """The units of what :func:`load_encoded` read, of a kind: ``token``, or by ``syntax`` ``lexeme`` or ``node``."""
    if kind == "token":
        return token_units(data.lengths, data.second_start.astype(np.int64), data.apart)
    assert syntax is not None
    spans = _read(encoded, splits, shard, ["starts", "ends"], unlabeled)
    starts, ends = (spans[name].combine_chunks().flatten().to_numpy() for name in ("starts", "ends"))
    tokens = Tokens(starts, ends, data.offsets, data.second_start.astype(np.int64), data.apart)
    parsed = syntax_of(_read(syntax, splits, shard, None, unlabeled), data.ids, syntax)
    return node_units(parsed, tokens) if kind == "node" else lexeme_units(parsed, tokens)


def _read(
    folder: Path, splits: Sequence[str], shard: int | None, columns: list[str] | None, unlabeled: int | None
) -> pa.Table:
    tables = []
    for split in splits:
        file = pq.ParquetFile(folder / f"{split}.parquet")
        table = file.read(columns) if shard is None else file.read_row_group(shard, columns)
        tables.append(table.slice(0, unlabeled) if split == UNLABELED else table)
    return pa.concat_tables(tables)


def training_batches(
    lengths: NDArray[np.int64], batch_size: int, batch_tokens: int, generator: np.random.Generator
) -> list[Rows]:
    """Rows in random batches of similar length: shuffled, sorted within a window, cut under a budget, shuffled again.

    A batch holds at most ``batch_size`` examples and ``batch_tokens`` tokens, padding included.
    """
    order = generator.permutation(len(lengths))
    size = batch_size * WINDOW
    windows = [order[start : start + size] for start in range(0, len(order), size)]
    batches = [
        batch
        for window in windows
        for batch in _cut(window[np.argsort(lengths[window], kind="stable")], lengths, batch_size, batch_tokens)
    ]
    return [batches[index] for index in generator.permutation(len(batches))]


def sorted_batches(lengths: NDArray[np.int64], batch_size: int, batch_tokens: int) -> list[Rows]:
    """All rows once, from the longest to the shortest, so that memory runs out at once or never."""
    return list(_cut(np.argsort(-lengths, kind="stable"), lengths, batch_size, batch_tokens))


def _cut(order: Rows, lengths: NDArray[np.int64], batch_size: int, batch_tokens: int) -> Iterator[Rows]:
    start, longest = 0, 0
    for end, row in enumerate(order):
        longest = max(longest, int(lengths[row]))
        count = end - start + 1
        if count > 1 and (count > batch_size or count * longest > batch_tokens):
            yield order[start:end]
            start, longest = end, int(lengths[row])
    if start < len(order):
        yield order[start:]
