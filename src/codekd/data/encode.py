"""Stage ``encoded`` for models with a tokenizer: a task's examples as token sequences, made once per tokenizer.

A single piece of code becomes ``<cls> code <sep>``, a pair ``<cls> a <sep> b <sep>``, without the special tokens that a
tokenizer lacks; those of a teacher's ``prefix`` follow ``<cls>``. What exceeds ``max_length`` is cut: around the hole
where there is one, otherwise at the end; of a pair, the longer side first.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer, pre_tokenizers
from transformers import PreTrainedTokenizerBase

from codekd.data.hole import HOLE
from codekd.data.inputs import Reading, padded
from codekd.data.read import REMEMBERED
from codekd.data.sequences import BEFORE_HOLE, Piece, around, sequence, shares, windows_of, write_sequences
from codekd.models.positions import check_length
from codekd.models.tokenizer import special_tokens, write_tokenizer
from codekd.models.vocabulary import load_tokenizer, vocabulary_of, with_hole

if TYPE_CHECKING:
    from codekd.study.job import Job

TYPICAL = 4
"""Characters per token that are assumed at first, when a part of the code with enough tokens is looked for."""


def run(job: "Job", folder: Path) -> dict[str, Any]:
    """Write the sequences of all splits, and the tokenizer beside them.

    Returns:
        Size of the vocabulary, and number of examples and tokens of every split.

    Raises:
        CodekdError: ``max_length`` exceeds what the tokenizer's model can read.
    """
    teacher = job.coordinates[-1].rsplit("-", 1)[0]
    check_length(f"teachers.{teacher}.max_length", job.spec["max_length"], job.parents["tokenizer"] / "config.json")
    write_tokenizer(load_tokenizer(job.parents["tokenizer"]), job.spec, folder)
    tokenizer = load_tokenizer(folder)
    return {"vocabulary": len(tokenizer), **write_sequences(job, folder, Encoding(tokenizer, job.spec).row)}


class Encoding:
    """Tokenization of code as the spec of an ``encoded`` node says.

    Names of special tokens that code contains are read as code.

    Args:
        tokenizer: as transformers loads it; it is left unchanged.
        spec: of the node: ``max_length``, ``has_hole`` and ``prefix``.
        remembered: number of different pieces of code whose tokens are cached.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, spec: Mapping[str, Any], remembered: int = REMEMBERED
    ) -> None:
        self._limit, self._has_hole = spec["max_length"], spec["has_hole"]
        self._before, self._after = special_tokens(tokenizer, spec["prefix"])
        self._vocabulary = vocabulary_of(tokenizer)
        own = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._tokenizer = with_hole(own) if self._has_hole else own
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._tokenizer.encode_special_tokens = True
        self._local = _is_local(self._tokenizer.pre_tokenizer)
        self._first_of = lru_cache(remembered)(self._first)
        self._piece_of = lru_cache(remembered)(self._tokenized)

    def row(self, *code: str) -> dict[str, Any]:
        """Row of the table of sequences, without id and label, for one piece of code or the two of a pair."""
        pieces = [self._piece_of(one) for one in code]
        return sequence(pieces, windows_of(pieces, self._room(len(code))), self._before, self._after)

    def read(self, examples: Sequence[Sequence[str]]) -> Reading:
        """Input arrays of a model for examples of one or two pieces.

        They equal those made from rows of the table, in less time: positions of tokens are not computed, and code far
        from the window is not tokenized.
        """
        shown = [self.shown(*example) for example in examples]
        lengths, seconds, cut = np.array([(len(ids), second, cut) for ids, second, cut in shown]).T
        tokens = np.concatenate([np.array(ids, dtype=np.int32) for ids, _, _ in shown])
        return Reading(padded(tokens, lengths, seconds, self._vocabulary.pad_id), cut.astype(bool))

    def shown(self, *code: str) -> tuple[list[int], int, bool]:
        """Token ids of one example, the position at which its second side begins, and whether code was cut off."""
        limit = self._room(len(code))
        if self._has_hole:
            near, cut = self._near_hole(code[0], limit)
            pieces = [near]
        else:
            ids = self._firsts(code, limit)
            pieces = [one[:kept] for one, kept in zip(ids, shares(list(map(len, ids)), limit), strict=True)]
            cut = sum(map(len, ids)) > limit
        first, *others = ([*piece, *self._after] for piece in pieces)
        return [*self._before, *first, *chain(*others)], len(self._before) + len(first), cut

    def _room(self, sides: int) -> int:
        """Largest number of tokens of code in a row; of a pair it is even, so that two long sides have a half each."""
        room = self._limit - len(self._before) - len(self._after) * sides
        return room - room % sides

    def _ids(self, code: str) -> list[int]:
        found: list[int] = self._tokenizer.encode_batch_fast([code], add_special_tokens=False)[0].ids
        return found

    def _firsts(self, code: Sequence[str], limit: int) -> list[list[int]]:
        """First tokens of every side: all of them, or more than the window of ``limit`` tokens has room for."""
        ids = [self._first_of(one, limit // len(code)) for one in code]
        left = max(limit // len(code), limit - min(map(len, ids)))  # what a side shorter than its share leaves
        return [self._first_of(one, left) for one in code] if left > limit // len(code) else ids

    def _first(self, code: str, limit: int) -> list[int]:
        """First tokens of code: all of them, or more than ``limit``."""
        size = TYPICAL * limit
        while (end := self._end(code, size)) < len(code):
            cut = code[:end]
            sure = len(ids := self._ids(cut)) - _most_tokens(cut, cut.rstrip())
            if sure > limit:
                return ids[:sure]
            size *= 2
        return self._ids(code)

    def _near_hole(self, code: str, limit: int) -> tuple[list[int], bool]:
        """Window of ``limit`` tokens as :func:`~codekd.data.sequences.around` has it, and whether code is outside."""
        assert self._vocabulary.hole_id is not None, "a task with holes has tokenizers with one"
        before, _, after = code.partition(HOLE)
        wanted, size = int(limit * BEFORE_HOLE), TYPICAL
        while True:
            end = self._end(after, size * (limit - wanted))
            most = max(0, len(before) - size * limit + min(end, size * (limit - wanted)))
            start = before.rfind("\n", 0, most) + 1 if self._local else 0
            left, right = before[start:], after[:end]
            ids = self._ids(left + HOLE + right)
            hole = ids.index(self._vocabulary.hole_id)
            sure_before, sure_behind = hole, len(ids) - hole
            if start:
                sure_before -= _most_tokens(left, left.lstrip())
            if end < len(after):
                sure_behind -= _most_tokens(right, right.rstrip())
            needed_before = max(wanted, limit - sure_behind) if end == len(after) else wanted
            needed_behind = limit - min(wanted, hole)
            if (not start or sure_before >= needed_before) and (end == len(after) or sure_behind >= needed_behind):
                first, last = around(hole, len(ids), limit)
                return ids[first:last], start + first > 0 or last < len(ids) or end < len(after)
            size *= 2

    def _end(self, code: str, size: int) -> int:
        """End of the line with character ``size``, or of the code, always so if tokens depend on other words."""
        end = code.find("\n", size) if self._local else -1
        return end if end >= 0 else len(code)

    def _tokenized(self, code: str) -> Piece:
        found = self._tokenizer.encode(code, add_special_tokens=False)
        starts, ends = np.array(found.offsets, dtype=np.int32).reshape(-1, 2).T
        hole = int(np.searchsorted(ends, code.index(HOLE), side="right")) if self._has_hole else None
        return Piece(np.array(found.ids, dtype=np.int32), starts, ends, hole)


def _is_local(pre_tokenizer: object) -> bool:
    """Whether a token depends on nothing beyond the word, or the run of spaces, that it is in."""
    if isinstance(pre_tokenizer, pre_tokenizers.ByteLevel):
        return pre_tokenizer.use_regex and not pre_tokenizer.add_prefix_space
    return isinstance(pre_tokenizer, pre_tokenizers.BertPreTokenizer)


def _most_tokens(cut: str, stripped: str) -> int:
    """Bound on the tokens of the spaces at a cut, one a byte: a cut shortens their run, which may change its tokens."""
    return len(cut.encode()) - len(stripped.encode())
