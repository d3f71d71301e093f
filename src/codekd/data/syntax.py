"""Lexemes and syntax trees of code, in memory and as Parquet."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from codekd.data.splits import places

FIELDS = ("starts", "ends", "first", "last", "parent")
Ints = NDArray[np.int32]


@dataclass(frozen=True)
class Syntax:
    """Lexemes of a piece of code in order, and the syntax tree over them in preorder.

    Lexeme i has the characters ``starts[i]:ends[i]``, both int32 ``(lexemes,)``. Node n has the lexemes
    ``first[n]:last[n]`` and the parent ``parent[n]``, -1 for the root, all int32 ``(nodes,)``; leaves are nodes of one
    lexeme. No node spans the same lexemes as its parent.
    """

    starts: Ints
    ends: Ints
    first: Ints
    last: Ints
    parent: Ints


def write_syntax(
    path: Path, shards: Iterable[pl.DataFrame], columns: Sequence[str], parse: Callable[[str], Syntax]
) -> None:
    """Write the syntax of examples as Parquet: for every column of code the five arrays of a :class:`Syntax` as lists.

    Args:
        path: of the file.
        shards: frames of examples with ``id`` and the columns of code, one after another.
        columns: names of the columns of code.
        parse: syntax of a piece of code.
    """
    lists = [(f"{column}_{field}", pa.list_(pa.int32())) for column in columns for field in FIELDS]
    with pq.ParquetWriter(path, pa.schema([("id", pa.string()), *lists]), compression="zstd") as writer:
        for shard in shards:
            table = {"id": pa.array(shard["id"].to_list(), pa.string())}
            for column in columns:
                parsed = [parse(code) for code in shard[column]]
                for field in FIELDS:
                    table[f"{column}_{field}"] = _lists([getattr(syntax, field) for syntax in parsed])
            writer.write_table(pa.table(table))


def syntax_of(table: pa.Table, ids: Sequence[str], path: Path) -> list[list[Syntax]]:
    """Syntax of every piece of every example, as ``[example][piece]``.

    Args:
        table: what :func:`write_syntax` wrote.
        ids: ids of the examples, in the order of the result.
        path: where the table was read from, for messages.

    Raises:
        CodekdError: an example is missing.
    """
    columns = [name.removesuffix("_starts") for name in table.column_names if name.endswith("_starts")]
    order = places(path, table["id"].to_pylist(), ids)
    arrays = {(column, field): _arrays(table[f"{column}_{field}"]) for column in columns for field in FIELDS}
    return [[Syntax(*(arrays[column, field][row] for field in FIELDS)) for column in columns] for row in order]


def _lists(rows: list[Ints]) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.int64)]).astype(np.int32)
    values = np.concatenate(rows) if rows else np.empty(0, dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values, pa.int32()))


def _arrays(column: pa.ChunkedArray) -> list[Ints]:
    lists = column.combine_chunks()
    cuts = lists.offsets.to_numpy()
    return np.split(lists.values.to_numpy(), cuts[1:-1]) if len(lists) else []
