"""Distances along the edges of the syntax tree: from a node to its parent and to its next sibling.

A node's state is a weighted mean of token states, so every distance is a quadratic form of the tokens' products, which
are fewer than the nodes' and do not grow with the width of the states.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from codekd.data.units import UnitBatch
from codekd.signals.bands import ALIKE, TINY, cosine_of_angle

PARENT, SIBLING = 0, 1


def edges(nodes: UnitBatch) -> Tensor:
    """Which nodes have a parent and which a next sibling in the window, ``(sequences, 2, nodes)``."""
    links = _links(nodes)
    ends = nodes.mask.unsqueeze(1).expand_as(links).gather(2, links.clamp(min=0))
    return (links >= 0) & ends & nodes.mask.unsqueeze(1)


def edge_distances(hidden: Sequence[Tensor], nodes: UnitBatch) -> tuple[Tensor, Tensor]:
    """Euclidean and cosine distances along the edges, each ``(sequences, layers, 2, nodes)``.

    ``hidden`` holds token states ``(batch, length, width)`` a layer. Where there is no edge they mean nothing.
    """
    links = _links(nodes).clamp(min=0)
    weights = nodes.weights
    differences = [weights - weights.take_along_dim(link.unsqueeze(-1), 1) for link in links.unbind(1)]
    forms = torch.cat([weights, *differences], dim=1)
    euclidean, cosine = zip(*(_distances(states, nodes, forms, links) for states in hidden), strict=True)
    return torch.stack(euclidean, 1), torch.stack(cosine, 1)


def sibling_angles(euclidean: Tensor, nodes: UnitBatch) -> tuple[Tensor, Tensor]:
    """Cosine of the angle at the parent between a node and its next sibling, and whether there is one.

    Both are ``(sequences, layers, nodes)``; a side without length, where two nodes are one token, forms no angle.
    """
    assert nodes.sibling is not None
    above, beside = euclidean[:, :, PARENT], euclidean[:, :, SIBLING]
    other = above.gather(2, nodes.sibling.clamp(min=0).unsqueeze(1).expand_as(above))
    return cosine_of_angle(above, other, beside), (above > ALIKE) & (other > ALIKE)


def _links(nodes: UnitBatch) -> Tensor:
    assert nodes.parent is not None
    assert nodes.sibling is not None
    return torch.stack([nodes.parent, nodes.sibling], dim=1)


def _distances(hidden: Tensor, nodes: UnitBatch, forms: Tensor, links: Tensor) -> tuple[Tensor, Tensor]:
    hidden = hidden.to(torch.promote_types(hidden.dtype, forms.dtype))
    products = (hidden @ hidden.mT)[nodes.example]
    forms = forms.to(hidden.dtype)
    squares = ((forms @ products) * forms).sum(-1).clamp(min=0)
    norms, *apart = squares.unflatten(1, (3, -1)).unbind(1)
    distances = torch.stack(apart, dim=1)
    others = norms.unsqueeze(1).expand_as(links).gather(2, links)
    lengths = (norms.unsqueeze(1) * others + TINY**2).sqrt()
    cosines = (norms.unsqueeze(1) + others - distances) / (2 * lengths)
    return (distances + TINY**2).sqrt(), 1 - cosines
