"""Stage ``encoded``: encoding of a task's examples, and of other code alike, by a tokenizer or by the lexer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from codekd.data.read import REMEMBERED
from codekd.models.vocabulary import reads_lexemes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from codekd.data.inputs import Reading
    from codekd.study.job import Job


class Encoding(Protocol):
    """Protocol of the encodings of code as sequences of ids."""

    def row(self, *code: str) -> dict[str, Any]:
        """Row of the table of sequences, without id and label, for one piece of code or the two of a pair."""

    def read(self, examples: Sequence[Sequence[str]]) -> Reading:
        """Input arrays of a model for examples, each of one piece of code or the two of a pair."""


def run(job: Job, folder: Path) -> dict[str, Any]:
    """Write the sequences of all splits: of lexemes where the spec has a ``language``, otherwise of a tokenizer."""
    if "language" in job.spec:
        from codekd.data.encode_lexemes import run as write
    else:
        from codekd.data.encode import run as write
    return write(job, folder)


def encoding_of(folder: Path, spec: Mapping[str, Any], remembered: int = REMEMBERED) -> Encoding:
    """Encoding that the folder of a node, of a model or of an export asks for.

    Args:
        folder: with ``lexer.json`` or a tokenizer.
        spec: of the ``encoded`` node.
        remembered: number of different pieces of code whose tokens are cached.

    Raises:
        CodekdError: the folder asks for another version of the lexer.
    """
    if reads_lexemes(folder):
        from codekd.data.encode_lexemes import LexicalEncoding

        return LexicalEncoding(folder, spec, remembered)
    from codekd.data.encode import Encoding as ByTokenizer
    from codekd.models.vocabulary import load_tokenizer

    return ByTokenizer(load_tokenizer(folder), spec, remembered)
