"""Captured signals of a teacher in memory: one row for each example, or one for each unit of an example.

Shapes: ``examples`` of a set, or ``batch`` of them; ``pieces`` of code of each; ``units`` of code; ``...`` of one row.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codekd.data.units import Ints, Units, ranges


@dataclass(frozen=True)
class Fixed:
    """Signal with one row of the same shape for each example, in ``values`` ``(examples, ...)``."""

    values: NDArray[np.generic]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return self.values.shape[1:]

    @property
    def owners(self) -> Ints:
        """Index of the example of each row of ``values``."""
        return np.arange(len(self))

    def take(self, rows: Ints) -> "Fixed":
        """Signal of some examples, in the order of ``rows``."""
        return Fixed(self.values[rows])

    def batch(self, rows: Ints, units: Units | None, device: torch.device) -> Tensor:
        """Rows of some examples as a tensor ``(batch, ...)``; ``units`` has no effect."""
        return torch.from_numpy(self.values[rows]).to(device)


@dataclass(frozen=True)
class Ragged:
    """Signal with one row for each unit that the teacher's window shows.

    Attributes:
        values: ``(units, ...)``, those of all examples end to end.
        first: index of the first unit of each piece that has a row, ``(examples, pieces)``.
        count: number of units of each piece that have a row, ``(examples, pieces)``.
    """

    values: NDArray[np.generic]
    first: Ints
    count: Ints

    def __len__(self) -> int:
        return len(self.first)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return self.values.shape[1:]

    @property
    def owners(self) -> Ints:
        """Index of the example of each row of ``values``."""
        return np.repeat(np.arange(len(self)), self.count.sum(1))

    @cached_property
    def starts(self) -> Ints:
        """Index in ``values`` at which each piece begins, ``(examples * pieces,)``."""
        return np.cumsum(self.count.ravel()) - self.count.ravel()

    def take(self, rows: Ints) -> "Ragged":
        """Signal of some examples, in the order of ``rows``."""
        starts = self.starts.reshape(self.first.shape)[rows, 0]
        values = self.values[ranges(starts, self.count[rows].sum(1))]
        return Ragged(values, self.first[rows], self.count[rows])

    def batch(self, rows: Ints, units: Units | None, device: torch.device) -> Tensor:
        """Rows of the units of some examples as a tensor ``(batch * pieces, units, ...)``.

        ``units`` must show only units that the teacher shows too. What is in the places of padding has no meaning.
        """
        assert units is not None
        sequences = units.sequences(rows)
        first, count = units.first[sequences], units.count[sequences]
        place = np.minimum(np.arange(max(1, count.max(initial=0))), np.maximum(count - 1, 0)[:, None])
        place = place + (self.starts[sequences] + first - self.first.ravel()[sequences])[:, None]
        values = self.values[np.minimum(place, len(self.values) - 1)] if len(self.values) else self._empty(place.shape)
        return torch.from_numpy(values).to(device)

    def _empty(self, shape: tuple[int, ...]) -> NDArray[np.generic]:
        return np.zeros((*shape, *self.shape), dtype=self.values.dtype)


Captured = Fixed | Ragged
