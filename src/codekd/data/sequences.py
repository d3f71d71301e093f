"""Token sequences of examples: the windows of code that models read, and the table that sequences are kept in.

A window is a part ``[start, end)`` of a piece's tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from codekd.data.read import in_shards, read_examples
from codekd.data.splits import SPLITS

if TYPE_CHECKING:
    from codekd.study.job import Job

BEFORE_HOLE = 2 / 3
"""Share of a window that lies before the hole."""

NO_OFFSET = -1
"""Offset of a token that stands for no characters."""

Ints = NDArray[np.int32]

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("label", pa.int32()),
        ("input_ids", pa.list_(pa.int32())),
        ("starts", pa.list_(pa.int32())),
        ("ends", pa.list_(pa.int32())),
        ("length", pa.int32()),
        ("second_start", pa.int32()),
    ]
)


@dataclass(frozen=True)
class Piece:
    """Tokens of a piece of code: their ``ids`` and characters ``starts[i]:ends[i]``, all int32 ``(tokens,)``.

    ``hole`` is the position of the first token of the ``__HOLE__`` that a window must show, None if there is none.
    """

    ids: Ints
    starts: Ints
    ends: Ints
    hole: int | None = None


def write_sequences(job: "Job", folder: Path, row: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """Write ``{split}.parquet`` with the token ids and character offsets of a task's examples.

    ``starts`` and ``ends`` count characters of the token's own piece of code, -1 for special tokens; ``second_start``
    is the position of the first token of ``code_b``, equal to ``length`` where there is only one piece of code.

    Args:
        job: of an ``encoded`` node.
        folder: of the node.
        row: columns of an example but for ``id`` and ``label``, from its one or two pieces of code.

    Returns:
        Number of examples and tokens of every split.
    """
    columns, summary = job.spec["columns"], {}
    for split in SPLITS:
        examples = read_examples(job.parents["examples"], split, columns, job.spec["classes"])
        tokens = 0
        with pq.ParquetWriter(folder / f"{split}.parquet", SCHEMA, compression="zstd") as writer:
            for shard in in_shards(examples, f"{job.name}, {split}"):
                rows = [row(*code) for code in shard.select(columns).iter_rows()]
                values = {name: [one[name] for one in rows] for name in SCHEMA.names[2:]}
                table = {"id": shard["id"].to_list(), "label": shard["label"].to_list(), **values}
                writer.write_table(pa.table(table, schema=SCHEMA))
                tokens += sum(values["length"])
        summary[split] = {"examples": len(examples), "tokens": tokens}
    return summary


def sequence(
    pieces: Sequence[Piece],
    windows: Sequence[tuple[int, int]],
    before: Sequence[int] = (),
    after: Sequence[int] = (),
) -> dict[str, Any]:
    """Row of the table of sequences, without id and label: special tokens and the windows of one or two pieces.

    Args:
        pieces: of the example.
        windows: of each piece.
        before: ids of the special tokens at the beginning.
        after: ids of the special tokens behind each piece.
    """
    parts, ends = [special(*before)], [len(before)]
    for piece, (start, end) in zip(pieces, windows, strict=True):
        shown = slice(start, end)
        parts += [(piece.ids[shown], piece.starts[shown], piece.ends[shown]), special(*after)]
        ends.append(ends[-1] + end - start + len(after))
    columns = (np.concatenate(column) for column in zip(*parts, strict=True))
    return dict(zip(("input_ids", "starts", "ends"), columns, strict=True)) | {
        "length": ends[-1],
        "second_start": ends[1],
    }


def special(*tokens: int) -> tuple[Ints, Ints, Ints]:
    """Ids, starts and ends, int32 ``(tokens,)``, of special tokens, which stand for no characters."""
    none = np.full(len(tokens), NO_OFFSET, dtype=np.int32)
    return np.array(tokens, dtype=np.int32), none, none


def windows_of(pieces: Sequence[Piece], limit: int) -> list[tuple[int, int]]:
    """Window of each piece, of at most ``limit`` tokens together and with the hole inside, if there is one."""
    lengths = [len(piece.ids) for piece in pieces]
    if pieces[0].hole is None:
        return [(0, kept) for kept in shares(lengths, limit)]
    return [around(pieces[0].hole, lengths[0], limit)]


def around(position: int, length: int, limit: int) -> tuple[int, int]:
    """Window of at most ``limit`` tokens that shows a position, with two thirds of the window before it.

    Args:
        position: of a token, from 0.
        length: tokens of the piece.
        limit: largest number of tokens of the window.
    """
    start = max(0, min(position - int(limit * BEFORE_HOLE), length - limit))
    return start, min(length, start + limit)


def shares(lengths: list[int], limit: int) -> list[int]:
    """Number of tokens to keep of each of one or two pieces, ``limit`` together; of two, the longer is cut first.

    With an even limit, this is truncation ``longest_first`` of the tokenizers library.

    Args:
        lengths: tokens of each piece.
        limit: largest number of tokens of all pieces.
    """
    if len(lengths) == 1:
        return [min(lengths[0], limit)]
    first, second = lengths
    first = min(first, max(limit - second, limit // 2))
    return [first, min(second, limit - first)]
