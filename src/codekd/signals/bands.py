"""Relations between neighbouring units: distances in a band, from which all angles in a window follow.

The angle at a centre c between i and j is fixed by three distances:
``cos = (d_ic^2 + d_jc^2 - d_ij^2) / (2 d_ic d_jc)``. With i and j within W units of c they are at most 2 W apart, so
the band of Euclidean distances up to 2 W holds every angle that contextual knowledge distillation compares (Park et
al. 2021, "Distilling Linguistic Context for Language Model Compression", arXiv 2109.08359, section 3.1).

Units come last in all shapes here, so that what is shifted by some units is a contiguous slice.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

TINY = 1e-6
ALIKE = 1e-3
"""Units that are no farther apart have the same state: two lexemes in one token. They form no angle."""


def band(states: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """Distances to the units after each: Euclidean ``(batch, 2 window, units)``, cosine ``(batch, window, units)``.

    Entry ``[b, k - 1, u]`` is between the units u and u + k of ``states`` ``(batch, units, width)``; where there is no
    unit u + k it means nothing.
    """
    # Distances do not change when a constant is taken away, and lose fewer digits.
    centred = states - states.detach().mean(1, keepdim=True)
    products = centred @ centred.mT
    squares = products.diagonal(dim1=1, dim2=2)
    later = pad(squares, (0, 2 * window)).unfold(1, squares.shape[1], 1)[:, 1:]
    euclidean = squares.unsqueeze(1) + later - 2 * _diagonals(products, 2 * window)
    directions = normalize(states, dim=-1)
    return (euclidean.clamp(min=0) + TINY**2).sqrt(), 1 - _diagonals(directions @ directions.mT, window)


def unit_bands(states: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """The bands of all layers side by side, ``(sequences, layers 2 window, units)`` and half as many.

    ``states`` is ``(layers, sequences, units, width)``.
    """
    layers, sequences, units, _ = states.shape
    bands = band(states.flatten(0, 1), window)
    euclidean, cosine = (one.view(layers, sequences, -1, units).transpose(0, 1).flatten(1, 2) for one in bands)
    return euclidean, cosine


def layer_distances(states: Tensor) -> tuple[Tensor, Tensor]:
    """Euclidean and cosine distances between every two layers at a unit: twice ``(sequences, pairs, units)``.

    ``states`` is ``(layers, sequences, units, width)``; pairs are in lexicographic order.
    """
    first, second = torch.triu_indices(len(states), len(states), 1)
    euclidean = ((states[first] - states[second]).square().sum(-1) + TINY**2).sqrt()
    directions = normalize(states, dim=-1)
    cosine = 1 - (directions[first] * directions[second]).sum(-1)
    return euclidean.transpose(0, 1), cosine.transpose(0, 1)


def layer_angles(euclidean: Tensor, layers: int) -> Tensor:
    """Cosines of the angles that three layers form at a unit: ``(sequences, triangles, units)``.

    ``euclidean`` is that of :func:`layer_distances`; the centre is each of the three in turn.
    """
    pairs = torch.triu_indices(layers, layers, 1).T.tolist()
    place = {frozenset(pair): index for index, pair in enumerate(pairs)}
    sides = [
        [place[frozenset(side)] for side in ((centre, i), (centre, j), (i, j))]
        for centre in range(layers)
        for i, j in pairs
        if centre not in (i, j)
    ]
    if not sides:
        return euclidean[:, :0]
    first, second, opposite = torch.tensor(sides, device=euclidean.device).T
    return cosine_of_angle(euclidean[:, first], euclidean[:, second], euclidean[:, opposite])


def _diagonals(products: Tensor, count: int) -> Tensor:
    """The first ``count`` diagonals above the main one of ``(batch, units, units)``: ``(batch, count, units)``."""
    batch, units, _ = products.shape
    length = units + count
    # Entry u + k of row u lies u (length + 1) + k places after the start.
    padded = pad(products, (0, count))
    return padded.as_strided((batch, count, units), (units * length, 1, length + 1), padded.storage_offset() + 1)


def neighbours(mask: Tensor, reach: int) -> Tensor:
    """``(batch, reach, units)``: is there a unit u and a unit u + k? ``mask`` is ``(batch, units)``."""
    later = pad(mask, (0, reach)).unfold(1, mask.shape[1], 1)[:, 1:]
    return mask.unsqueeze(1) & later


def angles(euclidean: Tensor, window: int) -> Tensor:
    """Cosines of the angles at every unit between every two units of its window: ``(batch, pairs, units)``.

    ``euclidean`` is a band ``(batch, 2 window, units)``; the pairs of offsets i < j, 0 left out, are in
    lexicographic order. An angle with a missing unit means nothing; see :func:`triangles`.
    """
    return torch.cat([cosine_of_angle(*triangle) for triangle in _triangles(euclidean, window)], 1)


def cosine_of_angle(first: Tensor, second: Tensor, opposite: Tensor) -> Tensor:
    """Cosine of the angle between two sides of a triangle, from the lengths of all three."""
    return (first.square() + second.square() - opposite.square()) / (2 * first * second).clamp(min=TINY)


def triangles(mask: Tensor, window: int) -> Tensor:
    """``(batch, pairs, units)``: do all three units of an angle exist? ``mask`` is ``(batch, units)``."""
    sides = _triangles(neighbours(mask, 2 * window), window)
    return torch.cat([first & second & opposite for first, second, opposite in sides], 1)


def mean_squared_angle_difference(student: Tensor, teacher: Tensor, mask: Tensor, window: int) -> Tensor:
    """Mean of ``(cos_s - cos_t)^2`` over all angles whose units exist and differ; 0 if there is none.

    The same as subtracting two results of :func:`angles`, without keeping them: a block of angles is made, compared
    and differentiated while it is in the processor's cache, which takes a fifth of the time.

    Args:
        student: Euclidean band ``(batch, 2 window, units)``; the gradient flows here.
        teacher: the same of the teacher.
        mask: ``(batch, units)``, which units exist on both sides.
        window: units on each side of a centre.
    """
    return _AngleDifference.apply(student, teacher, mask, window)


class _AngleDifference(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, mask: Tensor, window: int) -> Tensor:
        exists = neighbours(mask, 2 * window)
        apart = exists & (student > ALIKE) & (teacher > ALIKE)
        padded, sides = _padded(student, window), _sides(student, window)
        inverse = sides.clamp(min=TINY).reciprocal()
        to_padded, to_sides = torch.zeros_like(padded), torch.zeros_like(sides)
        others = zip(
            _triangles(teacher, window),
            _triangles(apart.to(student.dtype), window),
            _triangles(exists.to(student.dtype), window),
            strict=True,
        )
        total, count = student.new_zeros(()), student.new_zeros(())
        for (i, later, third, shift), (triangle, (first, second, _), (_, _, far)) in zip(
            _blocks(window, student.shape[-1]), others, strict=True
        ):
            opposite, one, two = padded[:, third, shift], inverse[:, i : i + 1], inverse[:, later]
            product = one * two
            squares = sides[:, i : i + 1].square() + sides[:, later].square() - opposite.square()
            cosine = squares * product * 0.5
            exist = first * second * far
            error = (cosine - cosine_of_angle(*triangle)) * exist
            total += error.square().sum()
            count += exist.sum()
            to_sides[:, i] += (error * (two - cosine * one)).sum(1)
            to_sides[:, later] += error * (one - cosine * two)
            to_padded[:, third, shift] -= error * opposite * product
        _add_sides(to_padded, to_sides, window)
        count = count.clamp(min=1)
        ctx.save_for_backward(_unpadded(to_padded, window) * (2 / count))
        return total / count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradients[0] * gradient, None, None, None


def _triangles(euclidean: Tensor, window: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Blocks of triangles: two sides that meet at the centre, the first the same in the block, and the third."""
    padded, sides = _padded(euclidean, window), _sides(euclidean, window)
    for i, later, apart, shift in _blocks(window, euclidean.shape[-1]):
        yield sides[:, i : i + 1], sides[:, later], padded[:, apart, shift]


def _blocks(window: int, units: int) -> Iterator[tuple[int, slice, slice, slice]]:
    """Indices of a side and of later ones, and where the distances between their ends are in the padded band.

    The offsets ``-window, ..., -1, 1, ..., window`` are consecutive but for the centre, hence two blocks a side.
    """
    offsets = [*range(-window, 0), *range(1, window + 1)]
    for i, offset in enumerate(offsets):
        for low, high in ((i + 1, window), (max(i + 1, window), 2 * window)):
            if low < high:
                apart = offsets[low] - offset - 1
                shift = slice(window + offset, window + offset + units)
                yield i, slice(low, high), slice(apart, apart + high - low), shift


def _padded(euclidean: Tensor, window: int) -> Tensor:
    return pad(euclidean, (window, window))


def _unpadded(padded: Tensor, window: int) -> Tensor:
    return padded[..., window : padded.shape[-1] - window]


def _sides(euclidean: Tensor, window: int) -> Tensor:
    """Distances from every unit to those before and after it: ``(batch, 2 window, units)``, by offset."""
    padded, units = _padded(euclidean, window), euclidean.shape[-1]
    before = [padded[:, k - 1, window - k : window - k + units] for k in range(window, 0, -1)]
    return torch.cat([torch.stack(before, 1), euclidean[:, :window]], 1)


def _add_sides(padded: Tensor, sides: Tensor, window: int) -> None:
    """The reverse of :func:`_sides` for gradients: add those of the sides to the padded band they were taken from."""
    units = sides.shape[-1]
    padded[:, :window, window : window + units] += sides[:, window:]
    for index, k in enumerate(range(window, 0, -1)):
        padded[:, k - 1, window - k : window - k + units] += sides[:, index]
