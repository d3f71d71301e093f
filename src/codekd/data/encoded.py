"""Stage ``encoded``: which of its two modules makes a node, and reads code as it was made."""

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
    """How code becomes sequences."""

    def row(self, *code: str) -> dict[str, Any]:
        """One row of the table of sequences, less its id and label, of a piece of code or the two of a pair."""

    def read(self, examples: Sequence[Sequence[str]]) -> Reading:
        """What a model reads of examples, each of a piece of code or the two of a pair."""


def run(job: Job, folder: Path) -> dict[str, Any]:
    """Write the sequences of lexemes where the spec says in which language, otherwise those of a tokenizer."""
    if "language" in job.spec:
        from codekd.data.encode_lexemes import run as write
    else:
        from codekd.data.encode import run as write
    return write(job, folder)


def encoding_of(folder: Path, spec: Mapping[str, Any], remembered: int = REMEMBERED) -> Encoding:
    """How the folder of a node, of a model or of an export reads code; ``spec`` is that of the ``encoded`` node.

    The tokens of so many different pieces are ``remembered``.

    Raises:
        CodekdError: it asks for another version of the lexer.
    """
    if reads_lexemes(folder):
        from codekd.data.encode_lexemes import LexicalEncoding

        return LexicalEncoding(folder, spec, remembered)
    from codekd.data.encode import Encoding as ByTokenizer
    from codekd.models.vocabulary import load_tokenizer

    return ByTokenizer(load_tokenizer(folder), spec, remembered)
