"""Rows of files that others wrote: every one is a mapping or has a reason why it is none."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, time
from typing import Any

from codekd.data.decoding import with_plain_lines
from codekd.errors import CodekdError

NAMED = 3
"""Rows that a message names of every reason."""

TRUTHS = ("false", "true")


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

    def code(self, name: str) -> str:
        """A field that is code, its lines ended as those of files are.

        Raises:
            BadRow: it is no text, or there is none.
        """
        return with_plain_lines(self.text(name))

    def name(self, name: str) -> str:
        """A field that is a number, a date or text, as text.

        Raises:
            BadRow: it is none of them.
        """
        value = self.field(name)
        return str(value) if isinstance(value, int | float | date | time) else self.text(name)

    def field(self, name: str) -> Any:
        """The value of a field; one that is no number, as tables write what is missing, is none.

        Raises:
            BadRow: the row is no row, or lacks the field.
        """
        if isinstance(self.values, BadRow):
            raise self.values
        value = self.values.get(name)
        if value is None or (isinstance(value, float) and math.isnan(value)):
            raise BadRow(f"no {name!r}")
        return value

    def label(self, name: str, classes: "Classes") -> int:
        """The number of the class that a field gives, as :class:`Classes` reads it.

        Raises:
            BadRow: it gives none.
        """
        number = classes.number(self.field(name))
        if number is None:
            raise BadRow(f"a {name!r} other than {classes}")
        return number


class Classes:
    """The classes of a task, and which of them a value means that some format has for one.

    A value is compared as text: 1, 1.0, "1" and "1.0" are one value, and so are true, "True" and "TRUE". It is the name
    of a class. Where no name is a number or a truth value it may also be the number of a class, counted from 0, and of
    two classes false and true are the first and the second.
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
        """The number of the class that a value means, None if it means none."""
        return self._numbers.get(plain(value))


def plain(value: Any) -> str:
    """A value as the text that all formats have for it."""
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
