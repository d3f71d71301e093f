"""Embeddings of student and teacher, and the memory of them that contrastive distillation draws its negatives from.

Shapes:
    batch: examples of a batch.
    examples: those of the transfer set.
    dimension: width of the embeddings, which have length 1.
    2: the two sides, student first.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize


class Contrast(nn.Module):
    """Maps of student and teacher states to a common space, and each example's embeddings there when last seen.

    Attributes:
        banks: ``(2, examples, dimension)``, embeddings of student and teacher; random at first.
        constants: ``(2,)``, logarithms of the mean of ``exp(cos / temperature)`` over the first batch, for the
            student's anchors and the teacher's; not a number until then.
    """

    banks: Tensor
    constants: Tensor

    def __init__(
        self,
        widths: tuple[int, int],
        dimension: int,
        examples: int,
        negatives: int,
        temperature: float,
        momentum: float,
    ) -> None:
        super().__init__()
        self._negatives, self._temperature, self._momentum = negatives, temperature, momentum
        self.maps = nn.ModuleList(nn.Linear(width, dimension) for width in widths)
        self.register_buffer("banks", normalize(torch.randn(2, examples, dimension), dim=-1))
        self.register_buffer("constants", torch.full((2,), torch.nan))
        self._seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def forward(self, student: Tensor, teacher: Tensor, rows: Tensor) -> Tensor:
        """Log odds ``(2, batch, 1 + negatives)`` that an anchor and an entry of the bank are of one example.

        Anchors are the embeddings of this batch; each is held against the bank of the other side. The first entry is
        the example's own, the others are negatives; where the example itself was drawn as one, the odds are 0.
        :meth:`remember` puts the anchors into the banks.

        Args:
            student: states ``(batch, width)``.
            teacher: states ``(batch, width)`` of another width.
            rows: places of the examples in the transfer set, ``(batch,)``.
        """
        anchors = torch.stack(
            [normalize(to(states), dim=-1) for to, states in zip(self.maps, (student, teacher), strict=True)]
        )
        drawn = self.draw(rows.device)
        seen, negatives = self.banks.index_select(1, rows), self.banks.index_select(1, drawn).flip(0)
        positives = (seen.flip(0) * anchors).sum(-1, keepdim=True)
        exponents = torch.cat([positives, anchors @ negatives.mT], dim=-1) / self._temperature
        own = torch.cat([torch.zeros_like(rows)[:, None].bool(), drawn == rows[:, None]], dim=1)
        exponents = exponents.masked_fill(own, -torch.inf)
        first = exponents.detach().flatten(1).logsumexp(1) - (~own).sum().log()
        constants = first.where(self.constants.isnan(), self.constants)
        kept = self._momentum * seen + (1 - self._momentum) * anchors.detach()
        self._seen.append((rows, normalize(kept, dim=-1), constants))
        return exponents - (constants + math.log(self._negatives))[:, None, None]

    def remember(self) -> None:
        """Put the anchors since the last call into the banks; of an example that was seen twice the last counts."""
        for rows, moved, constants in self._seen:
            self.banks[:, rows] = moved
            self.constants.copy_(constants)
        self._seen.clear()

    def draw(self, device: torch.device) -> Tensor:
        """Draw the negatives of a batch, ``(negatives,)``, uniformly over the examples with replacement."""
        return torch.randint(self.banks.shape[1], (self._negatives,), device=device)
