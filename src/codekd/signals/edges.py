"""Relations along the edges of the syntax tree: of a node to its parent and to its next sibling.

Shapes:
    batch, length: rows that the model reads, and their tokens.
    sequences: pieces of code; a pair has two.
    nodes: nodes of the longest sequence; others are padded on the right.
    2: the edges of a node, at ``PARENT`` and at ``SIBLING``.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from codekd.data.units import UnitBatch
from codekd.signals.bands import ALIKE, TINY, cosine_of_angle

PARENT, SIBLING = 0, 1


def edge_relations(hidden: Sequence[Tensor], nodes: UnitBatch) -> tuple[Tensor, Tensor]:
    """Cosine distances along the edges, and the cosine of the angle at the parent between a node and its next sibling.

    Args:
        hidden: token states ``(batch, length, width)`` of each layer.
        nodes: nodes of the batch, with their parents and siblings.

    Returns:
        Distances ``(sequences, layers, 2, nodes)`` and cosines ``(sequences, layers, nodes)``. NaN where the window
        shows no such edge; a side without length, where two nodes are one token, forms no angle.
    """
    assert nodes.sibling is not None
    links = _links(nodes)
    targets = links.clamp(min=0)
    pairs = zip(*(_distances(nodes.states(states), targets) for states in hidden), strict=True)
    euclidean, cosine = (torch.stack(one, 1) for one in pairs)
    there = edges(nodes)

    above, beside = euclidean[:, :, PARENT], euclidean[:, :, SIBLING]
    other = above.gather(2, targets[:, SIBLING].unsqueeze(1).expand_as(above))
    whole = there.all(1).unsqueeze(1) & (above > ALIKE) & (other > ALIKE)
    angles = cosine_of_angle(above, other, beside)
    return cosine.masked_fill(~there.unsqueeze(1), torch.nan), angles.masked_fill(~whole, torch.nan)


def edges_with_angles(nodes: UnitBatch) -> tuple[Tensor, Tensor]:
    """Masks of the edges, ``(sequences, 2, nodes)``, and of the nodes with an angle, ``(sequences, nodes)``.

    They are those of :func:`edge_relations` as far as tokens tell: nodes of the same tokens in the same shares form
    none.
    """
    there, content = edges(nodes), nodes.content()
    above, beside = _links(nodes).clamp(min=0).unbind(1)
    parent = content.gather(1, above)
    return there, there.all(1) & (content != parent) & (content.gather(1, beside) != parent)


def edges(nodes: UnitBatch) -> Tensor:
    """Mask ``(sequences, 2, nodes)`` of the edges that the window shows: a node and its parent or next sibling."""
    links, mask = _links(nodes), nodes.mask.unsqueeze(1)
    return (links >= 0) & mask.expand_as(links).gather(2, links.clamp(min=0)) & mask


def _links(nodes: UnitBatch) -> Tensor:
    assert nodes.parent is not None
    assert nodes.sibling is not None
    return torch.stack([nodes.parent, nodes.sibling], dim=1)


def _distances(states: Tensor, links: Tensor) -> tuple[Tensor, Tensor]:
    norms, apart = _EdgeSquares.apply(states, links)
    others = norms.unsqueeze(1).expand_as(links).gather(2, links)
    lengths = (norms.unsqueeze(1) * others + TINY**2).sqrt()
    cosines = (norms.unsqueeze(1) + others - apart) / (2 * lengths)
    return (apart + TINY**2).sqrt(), 1 - cosines


class _EdgeSquares(torch.autograd.Function):
    """Squared lengths of all states ``(sequences, nodes)``, and of their differences from those they link to.

    The latter are ``(sequences, 2, nodes)``, like ``links``; ``states`` is ``(sequences, nodes, width)``.
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, links: Tensor) -> tuple[Tensor, Tensor]:
        first = torch.arange(0, links.shape[0] * links.shape[2], links.shape[2], device=links.device)
        targets = (links + first[:, None, None]).transpose(0, 1).flatten(1)
        flat = states.flatten(0, 1)
        ctx.save_for_backward(flat, targets)
        apart = [(flat - flat.index_select(0, target)).square_().sum(-1) for target in targets]
        shape = states.shape[:2]
        return flat.square().sum(-1).view(shape), torch.stack([one.view(shape) for one in apart], dim=1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (flat, targets), (by_norm, by_apart) = ctx.saved_tensors, gradients
        gradient = by_norm.reshape(-1, 1) * flat
        for target, factor in zip(targets, by_apart.transpose(0, 1).flatten(1), strict=True):
            difference = (flat - flat.index_select(0, target)).mul_(factor.unsqueeze(-1))
            gradient += difference
            gradient.index_add_(0, target, difference, alpha=-1)
        return gradient.mul_(2).view(*by_norm.shape, -1), None
