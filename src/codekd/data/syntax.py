"""Stage ``syntax``: the lexemes and trees of a task's examples, the same for every tokenizer."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from codekd.data.lexemes import Syntax, parse
from codekd.data.read import read_examples
from codekd.errors import CodekdError
from codekd.progress import track

if TYPE_CHECKING:
    from codekd.study.job import Job

SPLITS = ("train", "valid", "test", "unlabeled")
FIELDS = ("starts", "ends", "first", "last", "parent")


def run(job: "Job", folder: Path) -> dict[str, Any]:
    """Write ``{split}.parquet``: id, and for each column of code the five arrays of a :class:`Syntax` as lists."""
    summary: dict[str, Any] = {}
    for split in SPLITS:
        examples = read_examples(job.parents["examples"], split, job.spec["columns"])
        table = {"id": pa.array(examples["id"].to_list(), pa.string())}
        lexemes = 0
        for column in job.spec["columns"]:
            pieces = track(examples[column].to_list(), description=f"{job.name}, {split}", unit="example")
            parsed = [parse(code, job.spec["language"]) for code in pieces]
            lexemes += sum(len(syntax.starts) for syntax in parsed)
            for field in FIELDS:
                table[f"{column}_{field}"] = _lists([getattr(syntax, field) for syntax in parsed])
        pq.write_table(pa.table(table), folder / f"{split}.parquet", compression="zstd")
        summary[split] = {"examples": len(examples), "lexemes": lexemes}
    return summary


def read_syntax(folder: Path, splits: list[str], columns: list[str], ids: list[str]) -> list[list[Syntax]]:
    """The syntax of every piece of every example, in the order of ``ids``: ``[example][piece]``.

    Raises:
        CodekdError: an example is missing.
    """
    table = pa.concat_tables([pq.read_table(folder / f"{split}.parquet") for split in splits])
    position = {name: index for index, name in enumerate(table["id"].to_pylist())}
    missing = [name for name in ids if name not in position]
    if missing:
        raise CodekdError(f"{folder} lacks {len(missing)} examples, {missing[0]} first; delete it and run again.")
    arrays = {(column, field): _arrays(table[f"{column}_{field}"]) for column in columns for field in FIELDS}
    return [
        [Syntax(*(arrays[column, field][position[name]] for field in FIELDS)) for column in columns] for name in ids
    ]


def _lists(rows: list[NDArray[np.int32]]) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.int64)]).astype(np.int32)
    values = np.concatenate(rows) if rows else np.empty(0, dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values, pa.int32()))


def _arrays(column: pa.ChunkedArray) -> list[NDArray[np.int32]]:
    lists = column.combine_chunks()
    cuts = lists.offsets.to_numpy()
    return np.split(lists.values.to_numpy(), cuts[1:-1]) if len(lists) else []
