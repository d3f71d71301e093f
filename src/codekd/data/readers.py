"""Readers of files of rows, JSON Lines, CSV and Parquet, as different programs write them."""

import csv
import io
import json
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from codekd.data.decoding import encoding_of
from codekd.data.records import BadRow, Row
from codekd.data.sources import format_of
from codekd.errors import CodekdError

BATCH = 1024
SEPARATORS = ",;\t|"
DECLARES = "sep="
"""Beginning of the line by which Excel declares the separator, before the header of a CSV file."""

Read = Callable[[Path, Collection[str]], Iterator[Row]]


def rows_of(paths: Iterable[Path], columns: Collection[str] = (), read: Read | None = None) -> Iterator[Row]:
    """Rows of files, in order.

    Args:
        paths: of the files.
        columns: names that the columns of a CSV or Parquet file must include.
        read: reader of all files; by default that of the format which each name says, or else of JSON Lines.

    Raises:
        CodekdError: a file cannot be read, has no rows, or lacks one of the columns or has it twice.
    """
    for path in paths:
        found = False
        try:
            for row in (read or READERS[format_of(path.name) or "jsonl"])(path, columns):
                found = True
                yield row
        except (OSError, pa.ArrowException, UnicodeError) as error:
            raise CodekdError(f"{path} cannot be read: {error}") from None
        if not found:
            raise CodekdError(f"{path} has no rows.")


def _text(path: Path, newline: str) -> io.TextIOWrapper:
    """Text of a file, compressed or not, in the encoding of its byte order mark or in UTF-8.

    Bytes that are not UTF-8 are kept as lone surrogates.
    """
    with pa.input_stream(str(path)) as stream:
        head = stream.read(4)
    encoding = encoding_of(head) or "utf-8"
    errors = "surrogateescape" if encoding.startswith("utf-8") else "strict"
    return io.TextIOWrapper(pa.input_stream(str(path)), encoding, errors, newline)


def _json(path: Path, columns: Collection[str]) -> Iterator[Row]:
    """Rows of a JSON file, which has an object a line, or one list of objects."""
    with _text(path, "\n") as stream:
        for number, line in enumerate(stream, start=1):
            if number == 1 and line.lstrip().startswith("["):
                yield from _listed(path, line + stream.read())
                return
            if line.strip():
                yield Row(f"{path.name}, line {number}", _parsed(line))


def _listed(path: Path, text: str) -> Iterator[Row]:
    try:
        items = json.loads(text, object_pairs_hook=_fields)
    except (ValueError, RecursionError) as error:
        raise CodekdError(f"{path} begins as a JSON list and is none: {error}") from None
    for number, item in enumerate(items, start=1):
        yield Row(f"{path.name}, object {number}", _object(item))


def _parsed(line: str) -> Mapping[str, Any] | BadRow:
    try:
        line.encode()
    except UnicodeEncodeError:
        return BadRow("bytes that are not UTF-8")
    try:
        return _object(json.loads(line, object_pairs_hook=_fields))
    except (ValueError, RecursionError):
        return BadRow("text that is not JSON")


def _fields(pairs: Sequence[tuple[str, Any]]) -> Mapping[str, Any] | BadRow:
    fields = dict(pairs)
    return fields if len(fields) == len(pairs) else BadRow("a field that stands twice")


def _object(value: Any) -> Mapping[str, Any] | BadRow:
    return value if isinstance(value, dict | BadRow) else BadRow("JSON that is not an object")


@dataclass(frozen=True)
class _Dialect:
    """Dialect of a CSV file: line end, whether the first line declares the separator, separator, escape character."""

    line_end: str
    declared: bool
    separator: str
    escape: str | None = None

    def records(self, path: Path) -> Iterator[tuple[int, list[str] | csv.Error]]:
        """First line of each record, counted from 1, with the record's fields, or the error that it has instead."""
        read = 0

        def lines(stream: Iterable[str]) -> Iterator[str]:
            nonlocal read
            for line in stream:
                read += max(line.count(self.line_end[-1]), 1)
                yield line

        with _text(path, self.line_end) as stream:
            following = lines(stream)
            if self.declared:
                next(following)
            reader = csv.reader(following, delimiter=self.separator, escapechar=self.escape, strict=True)
            while True:
                begins = read + 1
                try:
                    fields = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    yield begins, error
                    continue
                if fields:
                    yield begins, fields


def _csv(path: Path, columns: Collection[str]) -> Iterator[Row]:
    """Rows of a CSV file under its header.

    If the first row has one field more than the header, all rows are expected to: either the row names that R writes in
    front, which are numbers, or an empty field behind a last separator.
    """
    csv.field_size_limit(sys.maxsize)
    dialect, names = _dialect(path, columns)
    more: slice | None = None
    for line, fields in islice(dialect.records(path), 1, None):
        place = f"{path.name}, line {line}"
        if isinstance(fields, csv.Error):
            yield Row(place, _why(place, fields))
            continue
        if more is None:
            more = _besides(fields, len(names))
        shown = fields[more]
        if len(fields) == len(names) and more != slice(None):
            yield Row(place, BadRow("a field less than the first row"))
        elif len(shown) > len(names):
            yield Row(place, BadRow("more fields than the header"))
        else:
            yield Row(place, dict(zip(names, shown, strict=False)))


def _why(place: str, error: csv.Error) -> BadRow:
    """Reason why a record cannot be used.

    Raises:
        CodekdError: the records that follow cannot be told from it.
    """
    if "end of data" in str(error):
        raise CodekdError(
            f"{place}: a quote opens in this row and never closes, so that it takes all rows that follow."
        )
    if "new-line" in str(error):
        raise CodekdError(f"{place}: outside quotes there is another line end than that of the header.")
    return BadRow("quotes that are not CSV")


def _besides(fields: Sequence[str], count: int) -> slice:
    """Slice of a row's fields that belong to the ``count`` names of the header."""
    if len(fields) == count + 1 and not fields[-1]:
        return slice(count)
    return slice(1, None) if len(fields) == count + 1 and fields[0].isdecimal() else slice(None)


def _check_columns(path: Path, columns: Collection[str], names: Sequence[str], where: str = "") -> None:
    for name in columns:
        if (count := names.count(name)) != 1:
            has = f"{count} columns" if count else "no column"
            raise CodekdError(f"{path} has {has} {name!r}{where}; it has {', '.join(map(repr, names))}.")


def _dialect(path: Path, columns: Collection[str]) -> tuple[_Dialect, list[str]]:
    """Dialect of a CSV file, and its header.

    The separator is the one that gives the header the most of ``columns``, or else the most fields. A backslash is an
    escape character where quoting has errors without one and none with it.

    Raises:
        CodekdError: the file is empty, or its header lacks one of the columns or has it twice.
    """
    with _text(path, "") as stream:
        first = stream.readline()
    if not first:
        raise CodekdError(f"{path} has no rows.")
    line_end = first[len(first.rstrip("\r\n")) :] or "\n"
    declared = first.lower().startswith(DECLARES)
    separators = first[len(DECLARES)] if declared and len(first) > len(DECLARES) else SEPARATORS
    tried = [_Dialect(line_end, declared, separator) for separator in separators]
    headers = [_header(path, one) for one in tried]
    known = [sum(name in header for name in columns) for header in headers]
    best = max(range(len(tried)), key=lambda place: (known[place], len(headers[place])))
    _check_columns(path, columns, headers[best], " in its header")
    plain = tried[best]
    if not _has_errors(path, plain) or _has_errors(path, escaped := replace(plain, escape="\\")):
        return plain, headers[best]
    return escaped, headers[best]


def _header(path: Path, dialect: _Dialect) -> list[str]:
    fields = next((fields for _, fields in dialect.records(path)), [])
    return [] if isinstance(fields, csv.Error) else [name.strip() for name in fields]


def _has_errors(path: Path, dialect: _Dialect) -> bool:
    return any(isinstance(fields, csv.Error) for _, fields in dialect.records(path))


def _parquet(path: Path, columns: Collection[str]) -> Iterator[Row]:
    """Rows of a Parquet file; classes that the ``datasets`` library stores as numbers are given by name."""
    file = pq.ParquetFile(path)
    _check_columns(path, columns, file.schema_arrow.names)
    classes = _class_names(file.schema_arrow)
    number = 0
    for batch in file.iter_batches(BATCH):
        for values in batch.to_pylist():
            number += 1
            named = {name: of[values[name]] for name, of in classes.items() if values[name] in range(len(of))}
            yield Row(f"{path.name}, row {number}", values | named)


def _class_names(schema: pa.Schema) -> dict[str, list[str]]:
    if b"huggingface" not in (schema.metadata or {}):
        return {}
    from datasets import ClassLabel, Features

    features = Features.from_arrow_schema(schema)
    return {name: feature.names for name, feature in features.items() if isinstance(feature, ClassLabel)}


READERS: Mapping[str, Read] = {"jsonl": _json, "csv": _csv, "parquet": _parquet}
