"""Stage ``encoded`` for students that read lexemes: a task's examples as the lexer's ids, without a tokenizer.

Of every piece of code at most ``max_length`` lexemes are kept: around the hole where there is one, otherwise from the
beginning. The two sides of a pair are cut separately, since a model encodes each on its own.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from codekd.data.inputs import Inputs, Reading
from codekd.data.lexer import HOLE_ID, LARGEST, MASK, NOTHING, PADDING, VERSION, lex, lexeme_ids
from codekd.data.read import REMEMBERED
from codekd.data.sequences import Piece, around, sequence, special, windows_of, write_sequences
from codekd.errors import CodekdError
from codekd.models.vocabulary import LEXER_FILE

if TYPE_CHECKING:
    from codekd.study.job import Job


def run(job: "Job", folder: Path) -> dict[str, Any]:
    """Write the sequences of all splits, and ``lexer.json`` with all that is needed to encode further code alike.

    Returns:
        Number of examples and tokens of every split.
    """
    reads = {key: job.spec[key] for key in ("language", "max_length", "columns", "has_hole")}
    ids = {"size": LARGEST + 1, "padding": PADDING, "mask": MASK, "hole": HOLE_ID, "nothing": NOTHING}
    about = {"lexer": VERSION, **reads, "sides_apart": len(reads["columns"]) == 2, "ids": ids}
    (folder / LEXER_FILE).write_text(json.dumps(about, indent=1) + "\n")
    return write_sequences(job, folder, LexicalEncoding(folder, job.spec).row)


class LexicalEncoding:
    """Encoding of code as ids of lexemes, as ``lexer.json`` in a folder and the spec of an ``encoded`` node say."""

    def __init__(self, folder: Path, spec: Mapping[str, Any], remembered: int = REMEMBERED) -> None:
        """Check that the lexer has the version that the folder asks for.

        Args:
            folder: with ``lexer.json``.
            spec: of the ``encoded`` node: ``max_length``, ``has_hole`` and ``language``.
            remembered: number of different pieces of code whose lexemes are cached.

        Raises:
            CodekdError: the folder asks for another version.
        """
        version = json.loads((folder / LEXER_FILE).read_text())["lexer"]
        if version != VERSION:
            raise CodekdError(
                f"{folder / LEXER_FILE} asks for version {version} of the lexer, and this is version {VERSION}: "
                "use the release of codekd that made it, or train the model again"
            )
        self._limit, self._has_hole, self._language = (spec[key] for key in ("max_length", "has_hole", "language"))
        self._piece_of = lru_cache(remembered)(self._lexed)

    def row(self, *code: str) -> dict[str, Any]:
        """Row of the table of sequences, without id and label, for one piece of code or the two of a pair."""
        pieces = [self._piece_of(one) for one in code]
        return sequence(pieces, [windows_of([piece], self._limit)[0] for piece in pieces])

    def read(self, examples: Sequence[Sequence[str]]) -> Reading:
        """Input arrays of a model for examples of one or two pieces; each side of a pair is a row of its own.

        They equal those made from rows of the table, in a third of the time: positions of lexemes are not computed.
        """
        lexemes = [lexeme_ids(code, self._language) or [NOTHING] for example in examples for code in example]
        pieces = [self._window(ids) for ids in lexemes]
        input_ids = np.full((len(pieces), max(map(len, pieces))), PADDING, dtype=np.int64)
        attention_mask, token_type_ids = np.zeros((2, *input_ids.shape), dtype=np.int64)
        for row, piece in enumerate(pieces):
            input_ids[row, : len(piece)] = piece
            attention_mask[row, : len(piece)] = 1
        if len(pieces) > len(examples):
            token_type_ids[1::2] = attention_mask[1::2]
        cut = np.array([len(ids) > self._limit for ids in lexemes]).reshape(len(examples), -1).max(1)
        return Reading(Inputs(input_ids, attention_mask, token_type_ids), cut)

    def _window(self, ids: list[int]) -> list[int]:
        """Ids of the lexemes that are kept of a piece."""
        if not self._has_hole:
            return ids[: self._limit]
        hole = ids.index(HOLE_ID) if HOLE_ID in ids else 0
        start, end = around(hole, len(ids), self._limit)
        return ids[start:end]

    def _lexed(self, code: str) -> Piece:
        ids, starts, ends = lex(code, self._language)
        if not len(ids):
            return Piece(*special(NOTHING), hole=0 if self._has_hole else None)
        return Piece(ids, starts, ends, int((ids == HOLE_ID).argmax()) if self._has_hole else None)
