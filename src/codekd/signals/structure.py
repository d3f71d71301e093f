"""Signal ``structure``: distances along the edges of the syntax tree, and angles between them."""

from typing import TYPE_CHECKING, ClassVar, Literal

from codekd.signals.base import LayerSignal, TeacherShape

if TYPE_CHECKING:
    from torch import Tensor

    from codekd.data.batches import Batch
    from codekd.models.head import ClassifierOutput


class Config(LayerSignal):
    """Settings of the signal: distances of nodes to parents and next siblings, in as many layers as the student has.

    A node's row has, for every kept layer, the cosine distances to the parent and to the sibling, then for every layer
    the cosine of the angle between both nodes at the parent; float16, NaN where there is no such edge or angle in the
    window. Angles are kept as they are: from rounded distances a narrow triangle's could not be told.
    """

    gaps: ClassVar[bool] = True

    kind: Literal["structure"] = "structure"

    @property
    def name(self) -> str:
        """Name of the signal's folder, such as ``structure-l2``."""
        return f"{self.kind}-l{self.layers}"

    @property
    def unit(self) -> str:
        """Unit that has a row: a node of the syntax tree."""
        return "node"

    def row_bytes(self, teacher: TeacherShape) -> int:
        """Bytes of a node's row: two a number."""
        return 2 * 3 * self.layers

    def extract(self, output: "ClassifierOutput", batch: "Batch") -> "Tensor":
        """Rows ``(sequences, nodes, 3 layers)`` float16; infinite where an edge has a distance, but no number.

        Angles are those of edges whose distances are there.
        """
        import torch

        from codekd.signals.edges import edge_relations, edges

        assert output.hidden_states is not None
        assert batch.units is not None
        cosine, angles = edge_relations(self.kept(output.hidden_states), batch.units)
        cosine = cosine.masked_fill(cosine.isnan() & edges(batch.units).unsqueeze(1), torch.inf)
        return torch.cat([cosine.flatten(1, 2), angles], dim=1).mT.half()

    def split(self, rows: "Tensor") -> "tuple[Tensor, Tensor]":
        """Split captured rows ``(sequences, nodes, values)`` into distances and angles, in float32.

        Returns:
            Cosine distances ``(sequences, layers, 2, nodes)``, and cosines of angles ``(sequences, layers, nodes)``.
        """
        values = rows.float().mT
        return values[:, : 2 * self.layers].unflatten(1, (self.layers, 2)), values[:, 2 * self.layers :]
