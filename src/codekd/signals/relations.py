"""The signal ``relations``: banded distances between the units of a sequence, and between the layers at a unit."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from codekd.models.layers import teacher_layers
from codekd.signals.base import Signal

if TYPE_CHECKING:
    from torch import Tensor

    from codekd.data.batches import Batch
    from codekd.models.head import ClassifierOutput


class Config(Signal):
    """Relations between lexemes or tokens, in as many layers as the student has.

    A unit's row has, for every kept layer, ``2 window`` Euclidean and ``window`` cosine distances to the units after
    it, then for every pair of kept layers the Euclidean and the cosine distance of its own states; float16.
    """

    by_unit: ClassVar[bool] = True
    hidden_states: ClassVar[bool] = True

    kind: Literal["relations"] = "relations"
    units: Literal["lexeme", "token"] = Field("lexeme", description="What relations are taken between.")
    window: int = Field(10, ge=1, le=64, description="Units on each side of a centre.")
    layers: int = Field(ge=1, description="Layers of the student; the teacher's are kept by uniform skip.")

    @property
    def name(self) -> str:
        """Such as ``relations-lexeme-w10-l2``."""
        return f"{self.kind}-{self.units}-w{self.window}-l{self.layers}"

    @property
    def by_lexeme(self) -> bool:
        """Whether lexemes must be known."""
        return self.units == "lexeme"

    def extract(self, output: "ClassifierOutput", batch: "Batch") -> "Tensor":
        """Rows ``(sequences, units, values)`` float16; not a number for a unit that has no state."""
        import torch

        from codekd.signals.bands import layer_distances, unit_bands

        assert output.hidden_states is not None
        assert batch.units is not None
        kept = teacher_layers(self.layers, len(output.hidden_states) - 1)
        states = torch.stack([batch.units.states(output.hidden_states[layer]) for layer in kept])
        rows = torch.cat([*unit_bands(states, self.window), *layer_distances(states)], dim=1)
        return rows.mT.masked_fill(~batch.units.mask.unsqueeze(-1), torch.nan).half()

    def split(self, rows: "Tensor") -> "tuple[Tensor, Tensor, Tensor, Tensor]":
        """What :meth:`extract` put into rows ``(sequences, units, values)``, as float32.

        Returns the bands ``(layers, sequences, 2 window, units)`` Euclidean and ``(layers, sequences, window, units)``
        cosine, and between layers ``(sequences, pairs, units)`` Euclidean and cosine.
        """
        values = rows.float().mT
        pairs = self.layers * (self.layers - 1) // 2
        sizes = [self.layers * 2 * self.window, self.layers * self.window, pairs, pairs]
        euclidean, cosine, across, across_cosine = values.split(sizes, dim=1)
        euclidean, cosine = (part.unflatten(1, (self.layers, -1)).transpose(0, 1) for part in (euclidean, cosine))
        return euclidean, cosine, across, across_cosine
