"""The signal ``structure``: distances along the edges of the syntax tree."""

from typing import TYPE_CHECKING, Literal

from codekd.signals.base import LayerSignal, TeacherShape

if TYPE_CHECKING:
    from torch import Tensor

    from codekd.data.batches import Batch
    from codekd.models.head import ClassifierOutput


class Config(LayerSignal):
    """Distances of every node to its parent and to its next sibling, in as many layers as the student has.

    A node's row has, for every kept layer, the Euclidean distances to the parent and to the sibling, then for every
    layer the cosine distances to both; float16, not a number where there is no such edge in the window.
    """

    kind: Literal["structure"] = "structure"

    @property
    def name(self) -> str:
        """Such as ``structure-l2``."""
        return f"{self.kind}-l{self.layers}"

    @property
    def unit(self) -> str:
        """Nodes of the syntax tree."""
        return "node"

    def row_bytes(self, teacher: TeacherShape) -> int:
        """Two bytes a number."""
        return 2 * 4 * self.layers

    def extract(self, output: "ClassifierOutput", batch: "Batch") -> "Tensor":
        """Rows ``(sequences, nodes, 4 layers)`` float16."""
        import torch

        from codekd.signals.edges import edge_distances, edges

        assert output.hidden_states is not None
        assert batch.units is not None
        distances = torch.stack(edge_distances(self.kept(output.hidden_states), batch.units), dim=1)
        there = edges(batch.units)[:, None, None]
        return distances.masked_fill(~there, torch.nan).flatten(1, 3).mT.half()

    def split(self, rows: "Tensor") -> "tuple[Tensor, Tensor]":
        """What :meth:`extract` put into rows ``(sequences, nodes, values)``, as float32.

        Returns the Euclidean and the cosine distances, each ``(sequences, layers, 2, nodes)``.
        """
        euclidean, cosine = rows.float().mT.unflatten(1, (2, self.layers, 2)).unbind(1)
        return euclidean, cosine
