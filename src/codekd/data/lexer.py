"""Lexemes of code as numbers, without a learned vocabulary; ``docs/lexer.md`` is the specification.

Pieces of names, numbers, operators and single other characters are lexemes, also those inside of string literals; white
space and comments are none. The id of a lexeme depends on its characters alone, so that nothing has to be learnt or
shipped.
"""

import re
from functools import cache, lru_cache
from itertools import chain
from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from codekd.data.hole import HOLE

VERSION = 3
"""Of the specification: another lexer needs other models."""

PADDING, MASK, HOLE_ID, NOTHING = range(4)
"""Ids that no lexeme of code has: ``NOTHING`` stands for a piece of code without lexemes."""

RESERVED = 16
"""Ids below it are no lexeme's."""

LARGEST = 2**31 - 1
QUOTES = frozenset("\"'`")
"""What string literals begin with: they are read as the lexemes that are in them."""

REMEMBERED = 2**17
"""Lexemes whose ids are kept."""

_NAME = r"[^\W\d]\w*"
# HTTPError2_code: HTTP, Error2, _code. Names of other projects share more pieces than they share names.
_PIECE = r"_*(?:[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+)\d* | _+\d*"
_NUMBER = r"\d(?:[\w.]|(?<=[eEpP])[+-])*"
_OTHER = rf"""{_NUMBER}
    | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*'           # strings on one line
    | \\.                                                 # what is escaped opens no string
    | ->|=>|::|\+\+|--|&&|\|\||<<=?|>>=?|[-+*/%&|^=!<>]=  # operators of two characters and more
    | [^\w\s]"""
_IN_STRING = re.compile(rf"{_PIECE} | {_NUMBER} | \\. | [^\w\s]", re.VERBOSE)

PLAIN = re.compile(f"{_NAME} | {_OTHER}", re.VERBOSE)
"""Whole names and all else of any language, where comments are not known and strings end on their line."""

# What is not closed goes on to the end of the text: no text takes time quadratic in the comments and strings it opens.
_HASH = r"\#[^\n]*"
_SLASHES = r"//[^\n]* | /\*[\s\S]*?(?:\*/|\Z)"
_TRIPLE = r'"""(?:\\[\s\S]|[^\\])*?(?:"""|\\?\Z)'
_TEMPLATE = r"`(?:\\[\s\S]|[^\\`])*+(?:`|\\?\Z)"
_COMMENTS = {"python": _HASH, "plain": r"(?!)"}  # all other languages have those of C
_LONG_STRINGS = {
    "python": rf"{_TRIPLE} | {_TRIPLE.replace(chr(34), chr(39))}",
    "java": _TRIPLE,
    "javascript": _TEMPLATE,
    "typescript": _TEMPLATE,
    "go": r"`[^`]*+(?:`|\Z)",
}

Ints = NDArray[np.int32]


class Lexemes(NamedTuple):
    """The ``ids`` of lexemes in order, and the characters ``starts[i]:ends[i]`` of each, all int32 ``(lexemes,)``."""

    ids: Ints
    starts: Ints
    ends: Ints


def lex(code: str, language: str) -> Lexemes:
    """The lexemes of a text, which need not be free of errors.

    Args:
        code: any text, also one that is no valid Unicode.
        language: one of :data:`codekd.data.languages.Language`; ``plain`` knows no comments.
    """
    found: list[int] = []
    add, lexemes, ids, start = found.extend, _lexemes(language).finditer, lexeme_id, 0
    while True:
        end = code.find(HOLE, start)
        # Looked up in the whole text, an expression would see beyond the hole.
        text = code[start:] if end < 0 else code[start:end]
        for match in lexemes(text):
            if lexeme := match[1]:
                low, high = match.span(1)
                if lexeme[0] in QUOTES:
                    for part in _IN_STRING.finditer(lexeme):
                        add((ids(part[0]), start + low + part.start(), start + low + part.end()))
                else:
                    add((ids(lexeme), start + low, start + high))
        if end < 0:
            return Lexemes(*np.array(found, dtype=np.int32).reshape(-1, 3).T.copy())
        start = end + len(HOLE)
        add((HOLE_ID, end, start))


def lexeme_ids(code: str, language: str) -> list[int]:
    """The ids of what :func:`lex` finds, in half the time: it does not say where they lie."""
    lexemes = _lexemes(language).findall
    first, *others = (list(chain.from_iterable(map(_ids, lexemes(part)))) for part in code.split(HOLE))
    for part in others:
        first.append(HOLE_ID)
        first += part
    return first


@lru_cache(REMEMBERED)
def _ids(lexeme: str) -> list[int]:
    """The id of a lexeme, those of what is in a string, or nothing of nothing."""
    return [lexeme_id(one) for one in (_IN_STRING.findall(lexeme) if lexeme[:1] in QUOTES else [lexeme]) if one]


@lru_cache(REMEMBERED)
def lexeme_id(lexeme: str) -> int:
    """The id of a lexeme of code, from ``RESERVED`` to ``LARGEST``.

    The CRC-32 of its UTF-8 without the highest bit; one below ``RESERVED`` is moved up by as many.
    """
    number = crc32(lexeme.encode("utf-8", "surrogatepass")) & LARGEST
    return number + RESERVED if number < RESERVED else number


@cache
def _lexemes(language: str) -> re.Pattern[str]:
    """White space, and a comment, which has no group, or a lexeme, which is the first."""
    strings = f"{_LONG_STRINGS[language]} | " if language in _LONG_STRINGS else ""
    # White space is taken at once, also at the end: all else would be tried at each of its characters.
    return re.compile(rf"\s*+(?:{_COMMENTS.get(language, _SLASHES)} | ({strings}{_PIECE} | {_OTHER}) | \Z)", re.VERBOSE)
