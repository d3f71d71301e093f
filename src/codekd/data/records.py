"""Rows of the user's files: typed access to their fields, class labels, and counts of the rows that are unusable."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, time
from typing import Any

from codekd.data.decoding import with_plain_lines
from codekd.errors import CodekdError

NAMED = 3
"""Number of rows that an error message names for each reason."""

TRUTHS = ("false", "true")


class BadRow(Exception):
    """Error of an unusable row; its message is the reason, worded alike for all rows that have it."""


@dataclass(frozen=True)
class Row:
    """One row of a file.

    Attributes:
        place: where the row stands, such as ``train.jsonl, line 12``.
        values: values by field, or the reason why the row cannot be parsed.
    """

    place: str
    values: Mapping[str, Any] | BadRow

    @property
    def names(self) -> Collection[str]:
        """Names of the row's fields; none if it cannot be parsed."""
        return () if isinstance(self.values, BadRow) else self.values.keys()

    def text(self, name: str) -> str:
        """Value of a field that must hold text.

        Raises:
            BadRow: the field is missing, no text, blank or not UTF-8.
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

    def code(self, name: str) -> str:
        """Value of a field that holds code, without a byte order mark and with lines ended by ``\\n``.

        Raises:
            BadRow: as :meth:`text` does.
        """
        return with_plain_lines(self.text(name))

    def name(self, name: str) -> str:
        """Value, as text, of a field that holds text, a number, a date or a time.

        Raises:
            BadRow: the field is missing, blank or of another type.
        """
        value = self.field(name)
        return str(value) if isinstance(value, int | float | date | time) else self.text(name)

    def field(self, name: str) -> Any:
        """Value of a field of any type; NaN, which tables write for a missing value, counts as missing.

        Raises:
            BadRow: the row cannot be parsed, or the field is missing.
        """
        if isinstance(self.values, BadRow):
            raise self.values
        value = self.values.get(name)
        if value is None or (isinstance(value, float) and math.isnan(value)):
            raise BadRow(f"no {name!r}")
        return value

    def label(self, name: str, classes: "Classes") -> int:
        """Index of the class that a field gives, as :class:`Classes` reads it.

        Raises:
            BadRow: the field is missing or gives none of the classes.
        """
        number = classes.number(self.field(name))
        if number is None:
            raise BadRow(f"a {name!r} other than {classes}")
        return number


class Classes:
    """Parser of class labels: the index of the class that a value of any file format means.

    A value is compared as text: 1, 1.0, "1" and "1.0" are one value, and so are true, "True" and "TRUE". It may be the
    name of a class. Unless some class is named by a number or a truth value, it may also be the index of a class,
    counted from 0, and of two classes false and true are the first and the second.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._numbers = {plain(name): number for number, name in enumerate(names)}
        self._by_name_alone = any(_is_number(name) or name in TRUTHS for name in self._numbers)
        if not self._by_name_alone:
            self._numbers |= {str(number): number for number in range(len(names))}
            self._numbers |= {truth: number for number, truth in enumerate(TRUTHS) if len(names) == 2}

    def __str__(self) -> str:
        names = ", ".join(self._names)
        return names if self._by_name_alone else f"0 to {len(self._names) - 1} or {names}"

    def number(self, value: Any) -> int | None:
        """Index of the class that a value means, None if it means none."""
        return self._numbers.get(plain(value))


def plain(value: Any) -> str:
    """Text of a value that is the same for all file formats: ``1`` for 1.0 and "1", ``true`` for True and "TRUE"."""
    text = str(value).strip()
    if text.lower() in TRUTHS:
        return text.lower()
    try:
        number = float(text)
        return str(int(number)) if number.is_integer() and abs(number) < 2**53 else text
    except ValueError:
        return text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@dataclass
class Rejected:
    """Counts of unusable rows.

    Attributes:
        read: number of rows that were read, usable or not.
        count: number of unusable rows by reason.
        places: where the first of them stand, by reason.
    """

    read: int = 0
    count: dict[str, int] = field(default_factory=dict)
    places: dict[str, list[str]] = field(default_factory=dict)

    def add(self, place: str, reason: BadRow) -> None:
        """Count an unusable row, and keep its place if it is among the first of its reason."""
        name = str(reason)
        self.count[name] = self.count.get(name, 0) + 1
        if len(known := self.places.setdefault(name, [])) < NAMED:
            known.append(place)

    def settle(self, task: str, skip: bool) -> dict[str, int]:
        """Return the number of unusable rows by reason.

        Args:
            task: name of the task, for the message.
            skip: whether unusable rows may be left out.

        Raises:
            CodekdError: there are unusable rows, and ``skip`` is false.
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
