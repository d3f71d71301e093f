"""Decoding of source files from bytes to text, the same for training and for prediction."""

import codecs
import importlib.util

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks and their encodings; one of UTF-32 begins with one of UTF-16, and so stands before it."""


def decode(raw: bytes, language: str) -> str:
    """Text of a source file, without a byte order mark and with lines ended by ``\\n``.

    Python code declares its own encoding (PEP 263). Any other text is in that of its byte order mark, in UTF-8, or
    else, as old sources often are, in Latin-1.

    Args:
        raw: content of the file.
        language: ``python``, or the name of any other language.

    Raises:
        SyntaxError, UnicodeError: the content is not in the encoding that it declares.
        ValueError: it has null characters, and so is no text.
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
    """Encoding that a byte order mark in the first four bytes ``head`` declares, None without a mark."""
    return next((name for mark, name in MARKS if head.startswith(mark)), None)


def with_plain_lines(text: str) -> str:
    """Text without a byte order mark and with lines ended by ``\\n``, as by Python's universal newlines."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
