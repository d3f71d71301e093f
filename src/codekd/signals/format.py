"""Parquet format of a signal: shards of ids and raw bytes, read into one array at the speed of the disk.

A shard has a column ``id`` and a binary column with the bytes of the captured tensor, neither compressed nor
dictionary-encoded; dtype and shape of a row are in the schema's metadata. Where there is a row for every unit, the
columns ``first`` and ``count`` say for each piece of code which units those are.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from codekd.data.rows import Captured, Fixed, Ragged
from codekd.data.splits import places
from codekd.errors import CodekdError


def shard_name(split: str, index: int) -> str:
    """File name of a shard, such as ``train-00003.parquet``."""
    return f"{split}-{index:05d}.parquet"


def write_shard(path: Path, signal: str, ids: Sequence[str], rows: Captured) -> None:
    """Write the rows of the examples ``ids`` as a shard, in a column named after the ``signal``."""
    values = np.ascontiguousarray(rows.values)
    metadata = {"dtype": values.dtype.name, "shape": json.dumps(rows.shape)}
    columns = {"id": pa.array(ids, pa.string())}
    width = values.dtype.itemsize * int(np.prod(rows.shape))
    if isinstance(rows, Fixed):
        columns[signal] = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(width), len(rows), [None, pa.py_buffer(values)]
        )
    else:
        ends = np.concatenate([[0], rows.count.sum(1).cumsum() * width]).astype(np.int64)
        columns[signal] = pa.LargeBinaryArray.from_buffers(
            pa.large_binary(), len(rows), [None, pa.py_buffer(ends), pa.py_buffer(values)]
        )
        for name, spans in (("first", rows.first), ("count", rows.count)):
            flat = pa.array(spans.astype(np.int32).ravel())
            columns[name] = pa.FixedSizeListArray.from_arrays(flat, spans.shape[1])
    table = pa.table(columns).replace_schema_metadata(metadata)
    pq.write_table(table, path, compression="none", use_dictionary=False, write_statistics=False)


def read_signal(folder: Path, splits: Sequence[str], signal: str, ids: Sequence[str]) -> Captured:
    """Read a signal's rows for the examples of some splits, in the order of ``ids``.

    Raises:
        CodekdError: an example is missing, or a shard has no such column.
    """
    found: list[str] = []
    parts: list[Captured] = []
    for path in (path for split in splits for path in sorted(folder.glob(f"{split}-*.parquet"))):
        names, rows = read_shard(path, signal)
        found += names
        parts.append(rows)
    return _concatenated(parts).take(np.array(places(folder, found, ids), dtype=np.int64))


def read_shard(path: Path, signal: str) -> tuple[list[str], Captured]:
    """Read the ids and the rows in a shard.

    Raises:
        CodekdError: the shard has no such column.
    """
    table = pq.read_table(path)
    if {"id", signal} - set(table.column_names):
        raise CodekdError(f"{path} has the columns {table.column_names}, not id and {signal}; delete its folder.")
    return table["id"].to_pylist(), _rows(table, signal)


def _rows(table: pa.Table, signal: str) -> Captured:
    metadata = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    shape = json.loads(metadata["shape"])
    column = table[signal].combine_chunks()
    values = np.frombuffer(column.buffers()[-1], dtype=metadata["dtype"])
    if "count" not in table.column_names:
        return Fixed(values.reshape(len(table), *shape))
    first, count = (
        table[name].combine_chunks().flatten().to_numpy().reshape(len(table), -1).astype(np.int64)
        for name in ("first", "count")
    )
    return Ragged(values.reshape(-1, *shape), first, count)


def _concatenated(parts: Sequence[Captured]) -> Captured:
    values = np.concatenate([part.values for part in parts])
    ragged = [part for part in parts if isinstance(part, Ragged)]
    if not ragged:
        return Fixed(values)
    first, count = (np.concatenate([getattr(part, name) for part in ragged]) for name in ("first", "count"))
    return Ragged(values, first, count)
