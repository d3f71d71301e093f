"""Bytes as the text that their author sees: one reading for training and for prediction."""

import codecs
import importlib.util

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks, of which that of UTF-32 begins with one of UTF-16."""


def decode(raw: bytes, language: str) -> str:
    """The text of a source file, its lines ended by ``\\n``, without a byte order mark.

    Python says itself in which encoding it is (PEP 263). Any other text is in the one of its byte order mark, in UTF-8,
    or else, as old sources often are, in Latin-1.

    Raises:
        SyntaxError, UnicodeError: it is not in the encoding that it says.
        ValueError: it is no text.
    """
    marked = encoding_of(raw)
    if language == "python" and (marked is None or marked == "utf-8-sig"):
        text = importlib.util.decode_source(raw)
    else:
        try:
            text = raw.decode(marked or "utf-8")
        except UnicodeDecodeError:
            if marked:
                raise
            text = raw.decode("latin-1")
    if "\0" in text:
        raise ValueError("null bytes: this is no text")
    return with_plain_lines(text)


def encoding_of(head: bytes) -> str | None:
    """The encoding that the first four bytes say by a byte order mark, if they do."""
    return next((name for mark, name in MARKS if head.startswith(mark)), None)


def with_plain_lines(text: str) -> str:
    """A text without a byte order mark, whose lines end in ``\\n``, as Python's universal newlines make it."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
