"""What was captured of a teacher, resident in memory: one row an example, or one a unit of an example."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codekd.data.units import Ints, Units, ranges


@dataclass(frozen=True)
class Fixed:
    """``values`` ``(examples, ...)``: the same shape for every example."""

    values: NDArray[np.generic]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row."""
        return self.values.shape[1:]

    @property
    def owners(self) -> Ints:
        """The example of each of the ``values``."""
        return np.arange(len(self))

    def take(self, rows: Ints) -> "Fixed":
        """The rows of some examples."""
        return Fixed(self.values[rows])

    def batch(self, rows: Ints, units: Units | None, device: torch.device) -> Tensor:
        """``(batch, ...)``."""
        return torch.from_numpy(self.values[rows]).to(device)


@dataclass(frozen=True)
class Ragged:
    """``values`` ``(units, ...)``: a row for every unit that the teacher's window shows, all examples end to end.

    ``first`` and ``count`` ``(examples, pieces)`` say which units of each piece they are.
    """

    values: NDArray[np.generic]
    first: Ints
    count: Ints

    def __len__(self) -> int:
        return len(self.first)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row."""
        return self.values.shape[1:]

    @property
    def owners(self) -> Ints:
        """The example of each of the ``values``."""
        return np.repeat(np.arange(len(self)), self.count.sum(1))

    @cached_property
    def starts(self) -> Ints:
        """Where the values of each piece begin, ``(examples * pieces,)``."""
        return np.cumsum(self.count.ravel()) - self.count.ravel()

    def take(self, rows: Ints) -> "Ragged":
        """The rows of some examples."""
        starts = self.starts.reshape(self.first.shape)[rows, 0]
        values = self.values[ranges(starts, self.count[rows].sum(1))]
        return Ragged(values, self.first[rows], self.count[rows])

    def batch(self, rows: Ints, units: Units | None, device: torch.device) -> Tensor:
        """``(sequences, units, ...)`` for the units that ``units`` shows, which the teacher shows too; else 0."""
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
