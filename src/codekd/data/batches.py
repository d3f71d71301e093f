"""Encoded examples and signals in memory, and the batches made of them.

Shapes: ``examples`` of a set, or ``batch`` of them; ``length`` tokens of the longest in a batch; ``classes`` of a task.
An example is one row of a batch, or two, one a side, for models that read the sides of a pair apart. Arguments ``rows``
are indices of examples in a set, int64.
"""

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
"""Number of batches whose examples :func:`training_batches` sorts by length together."""

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """Batch of examples as right-padded sequences, with the signals of the teacher.

    Attributes:
        rows: int64 ``(batch,)``, indices of the examples in their set.
        input_ids: int64 ``(batch, length)``, or ``(2 batch, length)`` where sides are apart: rows 2i and 2i + 1 are
            those of example i.
        attention_mask: of the shape of ``input_ids``, as in :class:`~codekd.data.inputs.Inputs`.
        token_type_ids: likewise.
        labels: int64 ``(batch,)``, -1 for an unknown label.
        teacher: rows of each captured signal, by its kind.
        units: units of the student's sequences that the teacher shows too, where a signal has rows by unit.
        shown: what the model reads: ``input_ids``, in which dropped words are masked.
        class_weights: ``(classes,)``, weights in the hard loss; None for one each.
        whole: the batch that this one is a part of, None if it is no part.
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
        """Factor of a mean over things of which examples have different numbers, such as labels or units.

        The loss of a part is weighted by its share of the examples; with this factor, a mean is weighted by its share
        of the things, so that the means of all parts add up to that of the whole. It is 1 for a batch that is no part.

        Args:
            count: number of things in a batch, or the sum of their weights.
        """
        if self.whole is None:
            return 1.0
        here, there = (count(batch).double() for batch in (self, self.whole))
        return here / there.where(there > 0, 1) * (len(self.whole.rows) / len(self.rows))


@dataclass(frozen=True)
class Encoded:
    """Set of encoded examples in memory.

    Attributes:
        ids: ids of the examples.
        labels: int64 ``(examples,)``, -1 for an unknown label.
        tokens: int32, ids of all tokens end to end; example i has those at ``offsets[i]:offsets[i + 1]``.
        offsets: int64 ``(examples + 1,)``.
        second_start: int32 ``(examples,)``, position of the first token of the second side, the length without one.
        vocabulary: of the tokens.
        signals: captured signals by kind.
        units: units of code, needed where a signal has rows by unit.
        class_weights: float32 ``(classes,)``, weights in the hard loss; None for one each.
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
        """Set of examples without ids and labels, from rows that :meth:`codekd.data.encoded.Encoding.row` made."""
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
        """Set of the examples at ``rows``, each as often as it is named; this set must have no signals."""
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
        """Whether the model reads the two sides of a pair as sequences of their own."""
        return self.vocabulary.sides_apart

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of tokens of each example, ``(examples,)``."""
        return np.diff(self.offsets)

    @property
    def padded_lengths(self) -> NDArray[np.int64]:
        """Number of tokens of each example padded alone, ``(examples,)``: if sides are apart, twice the longer's."""
        if not self.apart:
            return self.lengths
        return 2 * np.maximum(self.second_start, self.lengths - self.second_start)

    def inputs(self, rows: Rows) -> Inputs:
        """Input arrays of a model for the examples at ``rows``, padded to the longest of them."""
        lengths, second = self.lengths[rows], self.second_start[rows]
        if self.apart:
            # The sides follow each other in an example's tokens as in a batch's rows, so the tokens stay in order.
            lengths = np.column_stack([second, lengths - second]).ravel()
            second = np.tile(np.array([np.iinfo(np.int32).max, 0], dtype=np.int32), len(rows))
        tokens = np.concatenate([self.tokens[self.offsets[row] : self.offsets[row + 1]] for row in rows])
        return padded(tokens, lengths, second, self.vocabulary.pad_id)

    def batch(self, rows: Rows, device: torch.device) -> Batch:
        """Batch of the examples at ``rows``, padded to the longest of them, on a device."""
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
        """Part of a batch of this set: the examples at some ``places`` of it."""
        part = self.batch(whole.rows.cpu().numpy()[places], whole.rows.device)
        rows = (2 * places[:, None] + np.arange(2)).ravel() if self.apart else places
        return replace(part, shown=whole.shown[rows, : part.shown.shape[1]], whole=whole)


def shards(encoded: Path, split: str, unlabeled: int | None = None) -> list[int]:
    """Number of examples in each shard of a split.

    Args:
        encoded: folder of an ``encoded`` node.
        split: name of the split.
        unlabeled: number of unlabelled examples that are used, the first ones; None for all.
    """
    metadata = pq.read_metadata(encoded / f"{split}.parquet")
    sizes = np.array([metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)], dtype=np.int64)
    if split == UNLABELED and unlabeled is not None:
        sizes = np.minimum(sizes, unlabeled - (np.cumsum(sizes) - sizes))
    return [int(size) for size in sizes if size > 0]


def load_encoded(
    folder: Path, splits: Sequence[str], shard: int | None = None, unlabeled: int | None = None
) -> Encoded:
    """Read splits of an ``encoded`` node, or one shard of each, as one set without signals.

    Args:
        folder: of the node.
        splits: names of the splits.
        shard: index of the shard to read of each split; None for all.
        unlabeled: number of unlabelled examples to read, the first ones; None for all.
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
    """Units of the examples that :func:`load_encoded` read.

    Args:
        kind: ``token``, ``lexeme`` or ``node``.
        data: the examples.
        encoded: folder that they were read from.
        syntax: folder of the task's ``syntax`` node, needed for ``lexeme`` and ``node``.
        splits, shard, unlabeled: the arguments of that call.
    """
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
    """Random batches of examples of similar length, as indices: shuffled, sorted in windows, cut, shuffled again.

    Args:
        lengths: tokens of each example, ``(examples,)``.
        batch_size: largest number of examples in a batch.
        batch_tokens: largest number of tokens in a batch, padding included; a longer example is a batch of its own.
        generator: source of the order.
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
    """Batches of all examples from the longest to the shortest, so that memory runs out at once or never.

    The arguments are those of :func:`training_batches`.
    """
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
