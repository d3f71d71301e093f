"""Stage ``encoded``: a task's examples as the token sequences that models read, made once per tokenizer.

A single piece of code becomes ``<cls> code <sep>``, a pair ``<cls> a <sep> b <sep>``. What exceeds ``max_length`` is
cut: around the hole where there is one, otherwise at the end; of a pair, the longer side first.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Encoding
from transformers import AutoTokenizer

from codekd.data.hole import HOLE
from codekd.data.read import read_examples
from codekd.data.splits import SHARD_ROWS, SPLITS
from codekd.models.vocabulary import TOKENIZER_FILES

if TYPE_CHECKING:
    from codekd.study.job import Job

BEFORE_HOLE = 2 / 3
NO_OFFSET = -1
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


def run(job: "Job", folder: Path) -> dict[str, Any]:
    """Write ``{split}.parquet``: token ids with their character offsets; the tokenizer is copied beside them.

    ``starts`` and ``ends`` count characters of the token's own piece of code, -1 for special tokens; ``second_start``
    is the position of the first token of ``code_b``, equal to ``length`` where there is only one piece of code.
    """
    for name in TOKENIZER_FILES:
        shutil.copyfile(job.parents["tokenizer"] / name, folder / name)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    backend = tokenizer.backend_tokenizer
    hole = backend.token_to_id(HOLE) if job.spec["has_hole"] else None
    columns, limit = job.spec["columns"], job.spec["max_length"]
    summary: dict[str, Any] = {"vocabulary": len(tokenizer)}
    for split in SPLITS:
        examples = read_examples(job.parents["examples"], split, columns, job.spec["classes"])
        encodings = [backend.encode_batch(examples[column].to_list(), add_special_tokens=False) for column in columns]
        rows = [
            sequence(pieces, windows_of(pieces, limit, hole), tokenizer.cls_token_id, tokenizer.sep_token_id)
            for pieces in zip(*encodings, strict=True)
        ]
        table = pa.table(
            {
                "id": examples["id"].to_list(),
                "label": examples["label"].to_list(),
                **{name: [row[name] for row in rows] for name in SCHEMA.names[2:]},
            },
            schema=SCHEMA,
        )
        pq.write_table(table, folder / f"{split}.parquet", row_group_size=SHARD_ROWS, compression="zstd")
        summary[split] = {"examples": len(rows), "tokens": sum(row["length"] for row in rows)}
    return summary


def sequence(pieces: Sequence[Encoding], windows: Sequence[tuple[int, int]], cls: int, sep: int) -> dict[str, Any]:
    """One row of the table: the chosen window of every piece, between special tokens."""
    ids, spans, boundaries = [cls], [(NO_OFFSET, NO_OFFSET)], []
    for piece, (start, end) in zip(pieces, windows, strict=True):
        ids += [*piece.ids[start:end], sep]
        spans += [*piece.offsets[start:end], (NO_OFFSET, NO_OFFSET)]
        boundaries.append(len(ids))
    starts, ends = np.array(spans, dtype=np.int32).T
    return {
        "input_ids": np.array(ids, dtype=np.int32),
        "starts": starts,
        "ends": ends,
        "length": len(ids),
        "second_start": boundaries[0],
    }


def windows_of(pieces: Sequence[Encoding], max_length: int, hole: int | None) -> list[tuple[int, int]]:
    """The part ``[start, end)`` of each piece that fits, special tokens counted; ``hole`` is the hole's token id."""
    lengths = [len(piece.ids) for piece in pieces]
    limit = max_length - 1 - len(pieces)
    if hole is None:
        return [(0, kept) for kept in shares(lengths, limit)]
    return [around(pieces[0].ids.index(hole), lengths[0], limit)]


def around(position: int, length: int, limit: int) -> tuple[int, int]:
    """The window ``[start, end)`` of at most ``limit`` tokens that shows a position with two thirds before it."""
    start = max(0, min(position - int(limit * BEFORE_HOLE), length - limit))
    return start, min(length, start + limit)


def shares(lengths: list[int], limit: int) -> list[int]:
    """How many tokens of one or two pieces fit into ``limit`` together; of two, the longer is cut first."""
    if len(lengths) == 1:
        return [min(lengths[0], limit)]
    first, second = lengths
    first = min(first, max(limit - second, limit // 2))
    return [first, min(second, limit - first)]
