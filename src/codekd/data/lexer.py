"""Lexer: code as integer ids of lexemes, without a learned vocabulary; ``docs/lexer.md`` is the specification.

Lexemes are pieces of names, numbers, operators and single other characters, also those inside of string literals; white
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
"""Version of the specification; a model reads only the ids of the version that it was trained with."""

PADDING, MASK, HOLE_ID, NOTHING = range(4)
"""Ids of padding, of a masked lexeme, of the hole, and of a piece of code that has no lexemes."""

RESERVED = 16
"""Smallest id of a lexeme of code; those below it are reserved."""

LARGEST = 2**31 - 1
"""Largest id of a lexeme."""

QUOTES = frozenset("\"'`")
"""Characters that open a string literal, which is read as the lexemes inside of it."""

REMEMBERED = 2**17
"""Number of lexemes whose ids are cached."""

_NAME = r"[^\W\d]\w*"
# HTTPError2_code is HTTP, Error2, _code: names of different projects have more pieces in common than whole names.
_PIECE = r"_*(?:[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+)\d* | _+\d*"
_NUMBER = r"\d(?:[\w.]|(?<=[eEpP])[+-])*"
_OTHER = rf"""{_NUMBER}
    | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*'           # strings on one line
    | \\.                                                 # what is escaped opens no string
    | ->|=>|::|\+\+|--|&&|\|\||<<=?|>>=?|[-+*/%&|^=!<>]=  # operators of two characters and more
    | [^\w\s]"""
_IN_STRING = re.compile(rf"{_PIECE} | {_NUMBER} | \\. | [^\w\s]", re.VERBOSE)

PLAIN = re.compile(f"{_NAME} | {_OTHER}", re.VERBOSE)
"""Pattern of a plain lexer for any language: whole names, numbers, operators, strings on one line; no comments."""

# An unclosed comment or string goes on to the end of the text, so that many of them do not take quadratic time.
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
    """Lexemes of a text in order: their ``ids`` and characters ``starts[i]:ends[i]``, all int32 ``(lexemes,)``."""

    ids: Ints
    starts: Ints
    ends: Ints


def lex(code: str, language: str) -> Lexemes:
    """Lexemes of a text, which need not be valid code.

    Args:
        code: any text, also one with lone surrogates.
        language: one of :data:`codekd.data.languages.Language`; ``plain`` knows no comments.
    """
    found: list[int] = []
    add, lexemes, ids, start = found.extend, _lexemes(language).finditer, lexeme_id, 0
    while True:
        end = code.find(HOLE, start)
        # A part is copied out: in the whole text, an expression would see beyond the hole.
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
    """Ids of the lexemes that :func:`lex` finds, without their positions, in half the time."""
    lexemes = _lexemes(language).findall
    first, *others = (list(chain.from_iterable(map(_ids, lexemes(part)))) for part in code.split(HOLE))
    for part in others:
        first.append(HOLE_ID)
        first += part
    return first


@lru_cache(REMEMBERED)
def _ids(lexeme: str) -> list[int]:
    """Ids of a match: that of a lexeme, those of the lexemes in a string, or none of an empty match."""
    return [lexeme_id(one) for one in (_IN_STRING.findall(lexeme) if lexeme[:1] in QUOTES else [lexeme]) if one]


@lru_cache(REMEMBERED)
def lexeme_id(lexeme: str) -> int:
    """Id of a lexeme of code, from ``RESERVED`` to ``LARGEST``.

    It is the CRC-32 of the lexeme's UTF-8 without the highest bit; ``RESERVED`` is added to one below ``RESERVED``.
    """
    number = crc32(lexeme.encode("utf-8", "surrogatepass")) & LARGEST
    return number + RESERVED if number < RESERVED else number


@cache
def _lexemes(language: str) -> re.Pattern[str]:
    """Pattern of white space and then either a comment, which has no group, or a lexeme, which is group 1."""
    strings = f"{_LONG_STRINGS[language]} | " if language in _LONG_STRINGS else ""
    # White space is taken at once, also at the end: otherwise all alternatives would be tried at each character of it.
    return re.compile(rf"\s*+(?:{_COMMENTS.get(language, _SLASHES)} | ({strings}{_PIECE} | {_OTHER}) | \Z)", re.VERBOSE)
