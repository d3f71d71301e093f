"""A signal on disk: Parquet shards of ids and raw bytes, read into one array at the speed of the disk.

A shard has a column ``id`` and a fixed-size binary column with one row of the captured tensor, neither compressed nor
dictionary-encoded; dtype and shape of a row are in the schema's metadata.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from codekd.errors import CodekdError

SHARD_ROWS = 4096


def write_shard(folder: Path, split: str, index: int, signal: str, ids: list[str], rows: NDArray[np.generic]) -> None:
    """Write rows ``(examples, ...)`` of a signal as shard ``{split}-{index:05d}.parquet``."""
    rows = np.ascontiguousarray(rows)
    width = rows[0].nbytes
    column = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(rows), [None, pa.py_buffer(rows)])
    metadata = {"dtype": rows.dtype.name, "shape": json.dumps(rows.shape[1:])}
    schema = pa.schema([("id", pa.string()), (signal, pa.binary(width))], metadata=metadata)
    table = pa.Table.from_arrays([pa.array(ids), column], schema=schema)
    path = folder / f"{split}-{index:05d}.parquet"
    pq.write_table(table, path, compression="none", use_dictionary=False, write_statistics=False)


def read_signal(folder: Path, splits: Sequence[str], signal: str, ids: Sequence[str]) -> NDArray[np.generic]:
    """A signal's rows ``(examples, ...)`` for the examples of some splits, in the order of ``ids``.

    Raises:
        CodekdError: an example is missing, or a shard has no such column.
    """
    found: list[str] = []
    arrays = []
    for path in (path for split in splits for path in sorted(folder.glob(f"{split}-*.parquet"))):
        table = pq.read_table(path)
        if {"id", signal} - set(table.column_names):
            raise CodekdError(f"{path} has the columns {table.column_names}, not id and {signal}; delete its folder.")
        metadata = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
        buffer = table[signal].combine_chunks().buffers()[1]
        shape = (len(table), *json.loads(metadata["shape"]))
        arrays.append(np.frombuffer(buffer, dtype=metadata["dtype"]).reshape(shape))
        found += table["id"].to_pylist()
    position = {name: index for index, name in enumerate(found)}
    missing = [name for name in ids if name not in position]
    if missing:
        raise CodekdError(
            f"{folder} lacks {len(missing)} of {len(ids)} examples, {missing[0]} first; delete it and run again."
        )
    return np.concatenate(arrays)[[position[name] for name in ids]]
