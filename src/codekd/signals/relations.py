"""Signal ``relations``: banded distances between the units of a sequence, and between the layers at a unit.

Shapes:
    sequences: pieces of code; a pair has two.
    units: units of the longest sequence; others are padded on the right.
    values: numbers in a unit's row.
    pairs: pairs of kept layers, in lexicographic order.
"""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from codekd.signals.base import LayerSignal, TeacherShape

if TYPE_CHECKING:
    from torch import Tensor

    from codekd.data.batches import Batch
    from codekd.models.head import ClassifierOutput


class Config(LayerSignal):
    """Settings of the signal: relations between lexemes or tokens, in as many layers as the student has.

    A unit's row has, for every kept layer, ``2 window`` Euclidean and ``window`` cosine distances to the units after
    it, then for every pair of kept layers the Euclidean and the cosine distance of its own states; float16.
    """

    gaps: ClassVar[bool] = True

    kind: Literal["relations"] = "relations"
    units: Literal["lexeme", "token"] = Field("lexeme", description="What relations are taken between.")
    window: int = Field(10, ge=1, le=64, description="Units on each side of a centre.")

    @property
    def name(self) -> str:
        """Name of the signal's folder, such as ``relations-lexeme-w10-l2``."""
        return f"{self.kind}-{self.units}-w{self.window}-l{self.layers}"

    @property
    def unit(self) -> str:
        """Unit that has a row, and that relations are taken between."""
        return self.units

    @property
    def _sizes(self) -> tuple[int, int, int, int]:
        """Numbers in a row: Euclidean and cosine between units, then between layers."""
        pairs = self.layers * (self.layers - 1) // 2
        return self.layers * 2 * self.window, self.layers * self.window, pairs, pairs

    def row_bytes(self, teacher: TeacherShape) -> int:
        """Bytes of a unit's row: two a number."""
        return 2 * sum(self._sizes)

    def extract(self, output: "ClassifierOutput", batch: "Batch") -> "Tensor":
        """Rows of :meth:`relations` in float16; infinite where a unit has a state and a value is not a number."""
        import torch

        assert batch.units is not None
        rows = self.relations(output, batch)
        return rows.masked_fill(rows.isnan() & batch.units.mask.unsqueeze(-1), torch.inf).half()

    def relations(self, output: "ClassifierOutput", batch: "Batch") -> "Tensor":
        """Rows ``(sequences, units, values)``; NaN for a unit that has no state, and 0 as the distance to it."""
        import torch

        from codekd.signals.bands import layer_distances, neighbours, unit_bands

        assert output.hidden_states is not None
        assert batch.units is not None
        states = torch.stack([batch.units.states(hidden) for hidden in self.kept(output.hidden_states)])
        near = neighbours(batch.units.mask, 2 * self.window)
        there = near.repeat(1, self.layers, 1), near[:, : self.window].repeat(1, self.layers, 1)
        bands = (band * exists for band, exists in zip(unit_bands(states, self.window), there, strict=True))
        rows = torch.cat([*bands, *layer_distances(states)], dim=1)
        return rows.mT.masked_fill(~batch.units.mask.unsqueeze(-1), torch.nan)

    def split(self, rows: "Tensor") -> "tuple[Tensor, Tensor, Tensor, Tensor]":
        """Split captured rows ``(sequences, units, values)`` into distances, in float32.

        Returns:
            Bands ``(layers, sequences, 2 window, units)`` Euclidean and ``(layers, sequences, window, units)`` cosine,
            and between layers ``(sequences, pairs, units)`` Euclidean and cosine.
        """
        values = rows.float().mT
        euclidean, cosine, across, across_cosine = values.split(self._sizes, dim=1)
        euclidean, cosine = (part.unflatten(1, (self.layers, -1)).transpose(0, 1) for part in (euclidean, cosine))
        return euclidean, cosine, across, across_cosine
