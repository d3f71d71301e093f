"""Stage ``encoded``: a task's examples as the token sequences that models read, made once per tokenizer.

A single piece of code becomes ``<cls> code <sep>``, a pair ``<cls> a <sep> b <sep>``; a teacher may want tokens of its
own after the first, and a tokenizer may lack them. What exceeds ``max_length`` is cut: around the hole where there is
one, otherwise at the end; of a pair, the longer side first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from codekd.data.hole import HOLE
from codekd.data.read import REMEMBERED, in_shards, read_examples
from codekd.data.splits import SPLITS
from codekd.errors import CodekdError
from codekd.models.positions import check_length
from codekd.models.vocabulary import copy_tokenizer

if TYPE_CHECKING:
    from codekd.study.job import Job

BEFORE_HOLE = 2 / 3
NO_OFFSET = -1

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
    """The tokens ``ids`` of a piece of code, int32, and the characters ``starts[i]:ends[i]`` of each.

    ``hole`` is the first token of the ``__HOLE__`` that must be shown.
    """

    ids: Ints
    starts: Ints
    ends: Ints
    hole: int | None = None


def run(job: "Job", folder: Path) -> dict[str, Any]:
    """Write ``{split}.parquet``: token ids with their character offsets; the tokenizer is copied beside them.

    ``starts`` and ``ends`` count characters of the token's own piece of code, -1 for special tokens; ``second_start``
    is the position of the first token of ``code_b``, equal to ``length`` where there is only one piece of code.

    Raises:
        CodekdError: they may be longer than the model can read whose tokenizer it is.
    """
    teacher = job.coordinates[-1].rsplit("-", 1)[0]
    check_length(f"teachers.{teacher}.max_length", job.spec["max_length"], job.parents["tokenizer"] / "config.json")
    copy_tokenizer(job.parents["tokenizer"], folder)
    encoding, columns = Encoding(folder, job.spec), job.spec["columns"]
    summary: dict[str, Any] = {"vocabulary": len(encoding.tokenizer)}
    for split in SPLITS:
        examples = read_examples(job.parents["examples"], split, columns, job.spec["classes"])
        tokens = 0
        with pq.ParquetWriter(folder / f"{split}.parquet", SCHEMA, compression="zstd") as writer:
            for shard in in_shards(examples, f"{job.name}, {split}"):
                rows = [encoding.row(*code) for code in shard.select(columns).iter_rows()]
                values = {name: [one[name] for one in rows] for name in SCHEMA.names[2:]}
                table = {"id": shard["id"].to_list(), "label": shard["label"].to_list(), **values}
                writer.write_table(pa.table(table, schema=SCHEMA))
                tokens += sum(values["length"])
        summary[split] = {"examples": len(examples), "tokens": tokens}
    return summary


class Encoding:
    """How code becomes sequences: with the tokenizer in a folder, and as the spec of an ``encoded`` node says.

    The tokens of so many different pieces are ``remembered``.
    """

    def __init__(self, folder: Path, spec: Mapping[str, Any], remembered: int = REMEMBERED) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        self._limit, self._has_hole = spec["max_length"], spec["has_hole"]
        self._before, self._after = special_tokens(self.tokenizer, spec["prefix"])
        self._piece_of = lru_cache(remembered)(self._tokenized)

    def row(self, *code: str) -> dict[str, Any]:
        """One row of the table, less its id and label, of one piece of code or the two of a pair."""
        pieces = [self._piece_of(one) for one in code]
        limit = self._limit - len(self._before) - len(self._after) * len(code)
        return sequence(pieces, windows_of(pieces, limit), self._before, self._after)

    def _tokenized(self, code: str) -> Piece:
        found = self.tokenizer.backend_tokenizer.encode(code, add_special_tokens=False)
        starts, ends = np.array(found.offsets, dtype=np.int32).reshape(-1, 2).T
        hole = int(np.searchsorted(ends, code.index(HOLE), side="right")) if self._has_hole else None
        return Piece(np.array(found.ids, dtype=np.int32), starts, ends, hole)


def special_tokens(tokenizer: PreTrainedTokenizerBase, prefix: Sequence[str] = ()) -> tuple[list[int], list[int]]:
    """The ids of the tokens before the code and after each piece of it, where the tokenizer has such.

    Raises:
        CodekdError: it does not know a token of the model's ``prefix``, which comes after the first one.
    """
    vocabulary = tokenizer.get_vocab()
    if unknown := [token for token in prefix if token not in vocabulary]:
        raise CodekdError(f"the tokenizer has no {unknown[0]!r}, which the teacher's `prefix` names")
    cls, sep = ([] if token is None else [token] for token in (tokenizer.cls_token_id, tokenizer.sep_token_id))
    return [*cls, *(vocabulary[token] for token in prefix)], sep


def sequence(
    pieces: Sequence[Piece], windows: Sequence[tuple[int, int]], before: Sequence[int], after: Sequence[int]
) -> dict[str, Any]:
    """One row of the table: the tokens ``before``, and the chosen window of every piece with those ``after`` it."""
    parts, ends = [_special(*before)], [len(before)]
    for piece, (start, end) in zip(pieces, windows, strict=True):
        shown = slice(start, end)
        parts += [(piece.ids[shown], piece.starts[shown], piece.ends[shown]), _special(*after)]
        ends.append(ends[-1] + end - start + len(after))
    columns = (np.concatenate(column) for column in zip(*parts, strict=True))
    return dict(zip(("input_ids", "starts", "ends"), columns, strict=True)) | {
        "length": ends[-1],
        "second_start": ends[1],
    }


def _special(*tokens: int) -> tuple[Ints, Ints, Ints]:
    none = np.full(len(tokens), NO_OFFSET, dtype=np.int32)
    return np.array(tokens, dtype=np.int32), none, none


def windows_of(pieces: Sequence[Piece], limit: int) -> list[tuple[int, int]]:
    """The part ``[start, end)`` of each piece, of at most ``limit`` tokens together; a hole is inside."""
    lengths = [len(piece.ids) for piece in pieces]
    if pieces[0].hole is None:
        return [(0, kept) for kept in shares(lengths, limit)]
    return [around(pieces[0].hole, lengths[0], limit)]


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
