"""Stage ``encoded``: a task's examples as the token sequences that models read, made once per tokenizer.

A single piece of code becomes ``<cls> code <sep>``, a pair ``<cls> a <sep> b <sep>``; a teacher may want tokens of its
own after the first, and a tokenizer may lack them. What exceeds ``max_length`` is cut: around the hole where there is
one, otherwise at the end; of a pair, the longer side first.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from codekd.data.hole import HOLE
from codekd.data.inputs import Inputs, padded
from codekd.data.read import REMEMBERED
from codekd.data.sequences import Piece, sequence, windows_of, write_sequences
from codekd.errors import CodekdError
from codekd.models.positions import check_length
from codekd.models.vocabulary import copy_tokenizer, read_vocabulary

if TYPE_CHECKING:
    from codekd.study.job import Job


def run(job: "Job", folder: Path) -> dict[str, Any]:
    """Write the sequences of all splits, and the tokenizer beside them.

    Raises:
        CodekdError: they may be longer than the model can read whose tokenizer it is.
    """
    teacher = job.coordinates[-1].rsplit("-", 1)[0]
    check_length(f"teachers.{teacher}.max_length", job.spec["max_length"], job.parents["tokenizer"] / "config.json")
    copy_tokenizer(job.parents["tokenizer"], folder)
    encoding = Encoding(folder, job.spec)
    return {"vocabulary": len(encoding.tokenizer), **write_sequences(job, folder, encoding.row)}


class Encoding:
    """How code becomes sequences: with the tokenizer in a folder, and as the spec of an ``encoded`` node says.

    The tokens of so many different pieces are ``remembered``.
    """

    def __init__(self, folder: Path, spec: Mapping[str, Any], remembered: int = REMEMBERED) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        self._limit, self._has_hole = spec["max_length"], spec["has_hole"]
        self._before, self._after = special_tokens(self.tokenizer, spec["prefix"])
        self._folder = folder
        self._piece_of = lru_cache(remembered)(self._tokenized)

    def row(self, *code: str) -> dict[str, Any]:
        """One row of the table, less its id and label, of one piece of code or the two of a pair."""
        pieces = [self._piece_of(one) for one in code]
        limit = self._limit - len(self._before) - len(self._after) * len(code)
        return sequence(pieces, windows_of(pieces, limit), self._before, self._after)

    def inputs(self, examples: Sequence[Sequence[str]]) -> Inputs:
        """What a model reads of examples."""
        rows = [self.row(*example) for example in examples]
        lengths, seconds = (np.array([row[key] for row in rows]) for key in ("length", "second_start"))
        tokens = np.concatenate([row["input_ids"] for row in rows])
        return padded(tokens, lengths, seconds, read_vocabulary(self._folder).pad_id)

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
