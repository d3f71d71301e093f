"""Rows of files that others wrote: every one is a mapping or has a reason why it is none."""

import csv
import json
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from codekd.errors import CodekdError

BATCH = 1024
NAMED = 3
"""Rows that a message names of every reason."""


class BadRow(Exception):
    """A row that cannot be used; the message is the reason, alike for all such rows."""


@dataclass(frozen=True)
class Row:
    """A row of a file: ``place`` is such as ``train.jsonl, line 12``, ``values`` may be a reason instead."""

    place: str
    values: Mapping[str, Any] | BadRow

    @property
    def names(self) -> Collection[str]:
        """The fields that there are."""
        return () if isinstance(self.values, BadRow) else self.values.keys()

    def text(self, name: str) -> str:
        """A field that is text of some length.

        Raises:
            BadRow: it is not.
        """
        value = self.field(name)
        if not isinstance(value, str):
            raise BadRow(f"a {name!r} that is no text")
        if not value.strip():
            raise BadRow(f"an empty {name!r}")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise BadRow(f"a {name!r} that is not UTF-8") from None
        return value

    def name(self, name: str) -> str:
        """A field that is a number or text, as text.

        Raises:
            BadRow: it is neither.
        """
        value = self.field(name)
        return str(value) if isinstance(value, int | float) else self.text(name)

    def field(self, name: str) -> Any:
        """The value of a field.

        Raises:
            BadRow: the row is no row, or lacks the field.
        """
        if isinstance(self.values, BadRow):
            raise self.values
        value = self.values.get(name)
        if value is None:
            raise BadRow(f"no {name!r}")
        return value

    def label(self, name: str, classes: Mapping[str, int]) -> int:
        """The number of the class that a field gives by name, by number, or, of two, as true or false.

        Raises:
            BadRow: it is none of them.
        """
        value = self.field(name)
        if isinstance(value, bool) and len(classes) == 2:
            return int(value)
        if isinstance(value, str) and value in classes:
            return classes[value]
        try:
            number = int(value)
        except (TypeError, ValueError):
            number = -1
        if number == -1 or number != float(value) or number not in classes.values():
            raise BadRow(f"a {name!r} other than 0 to {len(classes) - 1} or {', '.join(classes)}")
        return number


@dataclass
class Rejected:
    """Rows that cannot be used, by reason."""

    read: int = 0
    count: dict[str, int] = field(default_factory=dict)
    places: dict[str, list[str]] = field(default_factory=dict)

    def add(self, place: str, reason: BadRow) -> None:
        """Count a row and keep where the first ones are."""
        name = str(reason)
        self.count[name] = self.count.get(name, 0) + 1
        if len(known := self.places.setdefault(name, [])) < NAMED:
            known.append(place)

    def settle(self, task: str, skip: bool) -> dict[str, int]:
        """What was left out, by reason.

        Raises:
            CodekdError: there is such a row, and rows are not to be skipped.
        """
        if self.count and not skip:
            listed = "; ".join(
                f"{count:,} with {reason} ({', '.join(self.places[reason])}{', ...' if count > NAMED else ''})"
                for reason, count in self.count.items()
            )
            raise CodekdError(
                f"{task}: {sum(self.count.values()):,} of {self.read:,} rows cannot be used: {listed}. "
                f"Mend them, or write `on_bad_rows: skip` into the task to leave them out."
            )
        return self.count


def rows_of(paths: Iterable[Path], read: Callable[[Path], Iterator[Row]] | None = None) -> Iterator[Row]:
    """The rows of files that ``read`` reads, or else in JSON Lines, CSV with a header, or Parquet by their names.

    Those of any other name are JSON Lines.

    Raises:
        CodekdError: a file cannot be read as such.
    """
    for path in paths:
        try:
            yield from (read or READERS.get(path.suffix, _json_lines))(path)
        except (OSError, pa.ArrowException) as error:
            raise CodekdError(f"{path} cannot be read: {error}") from None


def _json_lines(path: Path) -> Iterator[Row]:
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if line.strip():
                yield Row(f"{path.name}, line {number}", _parsed(line))


def _parsed(line: bytes) -> Mapping[str, Any] | BadRow:
    try:
        values = json.loads(line.decode())
    except UnicodeDecodeError:
        return BadRow("bytes that are not UTF-8")
    except (ValueError, RecursionError):
        return BadRow("text that is not JSON")
    return values if isinstance(values, dict) else BadRow("JSON that is not an object")


def _csv(path: Path) -> Iterator[Row]:
    csv.field_size_limit(sys.maxsize)
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
        reader = csv.DictReader(stream, strict=True)
        while True:
            place = f"{path.name}, line {reader.line_num + 1}"
            try:
                values = next(reader)
            except StopIteration:
                return
            except csv.Error:
                yield Row(place, BadRow("quotes that are not CSV"))
                continue
            yield Row(place, BadRow("more fields than the header") if None in values else values)


def _parquet(path: Path) -> Iterator[Row]:
    number = 0
    for batch in pq.ParquetFile(path).iter_batches(BATCH):
        for values in batch.to_pylist():
            number += 1
            yield Row(f"{path.name}, row {number}", values)


READERS = {".parquet": _parquet, ".csv": _csv}
