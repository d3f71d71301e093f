"""Relations between neighbouring units: distances in a band, from which all angles in a window follow.

The angle at a centre c between i and j is fixed by three distances:
``cos = (d_ic^2 + d_jc^2 - d_ij^2) / (2 d_ic d_jc)``. With i and j within W units of c they are at most 2 W apart, so
the band of Euclidean distances up to 2 W holds every angle that contextual knowledge distillation compares (Park et al.
2021, "Distilling Linguistic Context for Language Model Compression", arXiv 2109.08359, section 3.1).

Shapes:
    sequences: pieces of code; a pair has two.
    batch: sequences, or layers and sequences flattened into one dimension.
    units: lexemes or tokens of the longest sequence, others are padded on the right. They come last but in states, so
        that what is shifted by some units is a contiguous slice.
    window: W, the units on each side of a centre.
    reach: largest offset in a band; entry ``[b, k - 1, u]`` is between the units u and u + k.
    pairs, triangles: two different layers, in lexicographic order; three layers with one of them as the centre.
"""

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

TINY = 1e-6
ALIKE = 1e-3
"""Distance up to which two units have the same state, such as two lexemes in one token. They form no angle."""

RESOLUTION = 4e-6
"""Share of two squared lengths below which their squared distance is nothing but float32's rounding."""


def band(states: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """Distances from every unit to those after it.

    Args:
        states: ``(batch, units, width)``.
        window: W.

    Returns:
        Euclidean ``(batch, 2 * window, units)`` and cosine ``(batch, window, units)``; where there is no unit u + k an
        entry means nothing.
    """
    # Subtracting a constant changes no distance and loses fewer digits; the products get it back.
    centre = states.detach().mean(1, keepdim=True)
    products, offsets = _BandedProducts.apply(states, centre, 2 * window)
    squares, near = products[:, :1], products[:, 1:]
    both = squares + _later(squares, 2 * window)
    euclidean = both - 2 * near
    euclidean = euclidean.masked_fill(euclidean <= RESOLUTION * both, 0)
    constant = (centre @ centre.mT).expand_as(offsets)
    inverse = (squares + 2 * offsets + constant).clamp(min=TINY**2).rsqrt()
    dots = near[:, :window] + offsets + _later(offsets, window) + constant
    cosine = dots * inverse * _later(inverse, window)
    return (euclidean + TINY**2).sqrt(), 1 - cosine


class _BandedProducts(torch.autograd.Function):
    """Products of centred states with those around them, and with the centre ``(batch, 1, width)``.

    The former are ``(batch, 1 + reach, units)``, of every unit with itself and with those after it; the latter
    ``(batch, 1, units)``. No gradient flows to the centre.
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, centre: Tensor, reach: int) -> tuple[Tensor, Tensor]:
        centred = states - centre
        ctx.save_for_backward(centred, centre)
        return _diagonals(centred @ centred.mT, reach).contiguous(), centre @ centred.mT

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (centred, centre), (gradient, offsets) = ctx.saved_tensors, gradients
        reach, units = gradient.shape[1] - 1, centred.shape[1]
        upper = gradient.new_zeros(len(centred), units, units + reach)
        _diagonals_of_padded(upper, reach).copy_(gradient)
        upper = upper[..., :units]
        return (offsets.mT * centre).baddbmm_(upper + upper.mT, centred), None, None


def _later(values: Tensor, reach: int) -> Tensor:
    """Values ``(batch, reach, units)`` at the next units, of ``(batch, 1, units)``; 0 after the last unit."""
    return pad(values.squeeze(1), (0, reach)).unfold(1, values.shape[-1], 1)[:, 1:]


def unit_bands(states: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """Bands of all layers side by side: ``(sequences, layers * 2 * window, units)``, and half as many cosines.

    Args:
        states: ``(layers, sequences, units, width)``.
        window: W.
    """
    layers, sequences, units, _ = states.shape
    bands = band(states.flatten(0, 1), window)
    euclidean, cosine = (one.view(layers, sequences, -1, units).transpose(0, 1).flatten(1, 2) for one in bands)
    return euclidean, cosine


def layer_distances(states: Tensor) -> tuple[Tensor, Tensor]:
    """Euclidean and cosine distances between every two layers at a unit, both ``(sequences, pairs, units)``.

    Args:
        states: ``(layers, sequences, units, width)``.
    """
    layers = len(states)
    products = _LayerProducts.apply(states)
    first, second = torch.triu_indices(layers, layers, 1, device=states.device)
    squares, dots = products.diagonal().movedim(-1, 0), products[first, second]
    euclidean = (squares[first] + squares[second] - 2 * dots).clamp(min=0) + TINY**2
    cosine = dots * (squares[first] * squares[second] + TINY**2).rsqrt()
    return euclidean.sqrt().transpose(0, 1), (1 - cosine).transpose(0, 1)


class _LayerProducts(torch.autograd.Function):
    """Products of a unit's states in every two layers, ``(layers, layers, sequences, units)``; no copies are kept."""

    @staticmethod
    def forward(ctx: Any, states: Tensor) -> Tensor:
        ctx.save_for_backward(states)
        layers = len(states)
        products = states.new_empty(layers, layers, *states.shape[1:-1])
        for first in range(layers):
            for second in range(first, layers):
                products[first, second] = products[second, first] = (states[first] * states[second]).sum(-1)
        return products

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (states,), (gradient,) = ctx.saved_tensors, gradients
        gradient = (gradient + gradient.transpose(0, 1)).unsqueeze(-1)
        out = torch.zeros_like(states)
        for first in range(len(states)):
            for second in range(len(states)):
                out[first].addcmul_(gradient[first, second], states[second])
        return out


def other_layers(distances: Tensor, layers: int) -> Tensor:
    """Distances from every layer to the others at a unit, ``(sequences, layers, layers - 1, units)``.

    Args:
        distances: one of the two of :func:`layer_distances`.
        layers: number of layers.
    """
    place = _places(layers)
    others = [
        [place[frozenset((layer, other))] for other in range(layers) if other != layer] for layer in range(layers)
    ]
    return distances[:, torch.tensor(others, dtype=torch.int64, device=distances.device)]


def layer_angles(euclidean: Tensor, layers: int) -> Tensor:
    """Cosines of the angles that three layers form at a unit, ``(sequences, triangles, units)``.

    Args:
        euclidean: Euclidean distances of :func:`layer_distances`.
        layers: number of layers; each of three is the centre in turn.
    """
    place = _places(layers)
    sides = [
        [place[frozenset(side)] for side in ((centre, i), (centre, j), (i, j))]
        for centre in range(layers)
        for i, j in place
        if centre not in (i, j)
    ]
    if not sides:
        return euclidean[:, :0]
    first, second, opposite = torch.tensor(sides, device=euclidean.device).T
    return cosine_of_angle(euclidean[:, first], euclidean[:, second], euclidean[:, opposite])


def _places(layers: int) -> dict[frozenset[int], int]:
    """Index of every pair of layers."""
    return {frozenset(pair): index for index, pair in enumerate(combinations(range(layers), 2))}


def _diagonals(products: Tensor, reach: int) -> Tensor:
    """Main diagonal and ``reach`` above it, ``(batch, 1 + reach, units)``, of ``(batch, units, units)``."""
    return _diagonals_of_padded(pad(products, (0, reach)), reach)


def _diagonals_of_padded(padded: Tensor, reach: int) -> Tensor:
    """View of the same diagonals of ``(batch, units, units + reach)``."""
    batch, units, length = padded.shape
    # Entry u + k of row u lies u (length + 1) + k places after the start.
    return padded.as_strided((batch, 1 + reach, units), (units * length, 1, length + 1), padded.storage_offset())


def around(later: Tensor, window: int) -> Tensor:
    """Values between every unit and those before and after it, ``(batch, 2 * window, units)``, by ascending offset.

    Args:
        later: band ``(batch, reach, units)`` of values between a unit and those after it, ``window`` or more.
        window: W.
    """
    padded, units = _padded(later, window), later.shape[-1]
    before = [padded[:, k - 1, window - k : window - k + units] for k in range(window, 0, -1)]
    return torch.cat([torch.stack(before, 1), later[:, :window]], 1)


def angles(exist: Tensor) -> Tensor:
    """Number of angles, a scalar.

    Args:
        exist: which sides exist at their centres, ``(batch, 2 * window, units)``, as of :func:`around`.
    """
    sides = exist.sum(1)
    return (sides * (sides - 1) // 2).sum()


def neighbours(mask: Tensor, reach: int) -> Tensor:
    """Whether a unit u and a unit u + k exist, ``(batch, reach, units)``, given which units do ``(batch, units)``."""
    mask = mask.unsqueeze(1)
    return mask & _later(mask, reach)


def unlike(content: Tensor, reach: int) -> Tensor:
    """Whether u and u + k differ in content, ``(batch, reach, units)``, given the units' content ``(batch, units)``."""
    content = content.unsqueeze(1)
    return content != _later(content, reach)


def cosine_of_angle(first: Tensor, second: Tensor, opposite: Tensor) -> Tensor:
    """Cosine of the angle between two sides of a triangle, from the lengths of all three."""
    return (first.square() + second.square() - opposite.square()) / (2 * first * second).clamp(min=TINY)


def mean_squared_angle_difference(student: Tensor, teacher: Tensor, mask: Tensor, window: int) -> Tensor:
    """Mean of ``(cos_s - cos_t)^2`` over the angles at every unit between every two units of its window.

    Angles count whose units exist and differ from the centre in both models; without any the mean is 0. Angles are not
    stored: a block of them is made, compared and differentiated while it is in the processor's cache. Sequences are
    laid end to end for it, so that nothing is computed for padding; no pair of units of two sequences exists.

    Args:
        student: Euclidean band ``(batch, 2 * window, units)``; the gradient flows here.
        teacher: the same of the teacher.
        mask: which units exist in both models, ``(batch, units)``.
        window: W.
    """
    return _AngleDifference.apply(student, teacher, mask, window)


class _AngleDifference(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, mask: Tensor, window: int) -> Tensor:
        apart = neighbours(mask, 2 * window) & (student > ALIKE) & (teacher > ALIKE)
        shape, kept = student.shape, _places_kept(mask)
        student, teacher, apart = (_end_to_end(one, kept) for one in (student, teacher, apart))
        exist = around(apart, window)
        sides, sides_t = around(student, window), around(teacher, window)
        # The inverse of a side that does not exist is 0, so that its angles have no error and no gradient.
        ours, theirs = (exist / one.clamp(min=TINY) for one in (sides, sides_t))
        padded, opposites_t = _padded(student, window), _padded(teacher, window).square()
        squares, squares_t, opposites = sides.square(), sides_t.square(), padded.square()
        by_side, by_inverse, by_opposite = (torch.zeros_like(one) for one in (sides, sides, opposites))
        total = student.new_zeros(())
        for i, later, third, shift in _blocks(window, student.shape[-1]):
            one, product = ours[:, i : i + 1], ours[:, i : i + 1] * ours[:, later]
            # Twice the cosines, for which the sum of squares is divided by 4 in the end.
            cosine = (squares[:, i : i + 1] + squares[:, later] - opposites[:, third, shift]).mul_(product)
            error = squares_t[:, i : i + 1] + squares_t[:, later] - opposites_t[:, third, shift]
            error = cosine - error.mul_(theirs[:, i : i + 1] * theirs[:, later])
            total += error.square().sum()
            by_side[:, i] += (error * ours[:, later]).sum(1)
            by_side[:, later].addcmul_(error, one)
            cosine *= error
            by_inverse[:, i] += cosine.sum(1)
            by_inverse[:, later] += cosine
            by_opposite[:, third, shift].addcmul_(error, product)
        count = angles(exist).clamp(min=1)
        gradient = -by_opposite * padded
        _add_sides(gradient, by_side - by_inverse * ours / 2, window)
        ctx.save_for_backward(_spread(_unpadded(gradient, window) / count, kept, shape))
        return total / (4 * count)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradients[0] * gradient, None, None, None


def _blocks(window: int, units: int) -> Iterator[tuple[int, slice, slice, slice]]:
    """Indices of a block of angles: a side, later sides, and the distances between their ends in a padded band.

    The offsets ``-window, ..., -1, 1, ..., window`` are consecutive but for the centre, hence two blocks a side.
    """
    offsets = [*range(-window, 0), *range(1, window + 1)]
    for i, offset in enumerate(offsets):
        for low, high in ((i + 1, window), (max(i + 1, window), 2 * window)):
            if low < high:
                apart = offsets[low] - offset - 1
                shift = slice(window + offset, window + offset + units)
                yield i, slice(low, high), slice(apart, apart + high - low), shift


def _places_kept(mask: Tensor) -> Tensor:
    """Places in the flattened ``mask`` ``(batch, units)``, less the padding after the last unit of a row."""
    return mask.flip(1).cummax(1).values.flip(1).flatten().nonzero().squeeze(1)


def _end_to_end(bands: Tensor, kept: Tensor) -> Tensor:
    """Bands ``(batch, reach, units)`` as one of all sequences end to end, ``(1, reach, kept)``."""
    return bands.transpose(0, 1).flatten(1).index_select(1, kept).unsqueeze(0)


def _spread(band: Tensor, kept: Tensor, shape: torch.Size) -> Tensor:
    """Inverse of :func:`_end_to_end`, 0 at padding."""
    batch, reach, units = shape
    flat = band.new_zeros(reach, batch * units).index_copy_(1, kept, band.squeeze(0))
    return flat.view(reach, batch, units).transpose(0, 1)


def _padded(euclidean: Tensor, window: int) -> Tensor:
    return pad(euclidean, (window, window))


def _unpadded(padded: Tensor, window: int) -> Tensor:
    return padded[..., window : padded.shape[-1] - window]


def _add_sides(padded: Tensor, sides: Tensor, window: int) -> None:
    """Reverse of :func:`around` for gradients: add those of the sides to the padded band they were taken from."""
    units = sides.shape[-1]
    padded[:, :window, window : window + units] += sides[:, window:]
    for index, k in enumerate(range(window, 0, -1)):
        padded[:, k - 1, window - k : window - k + units] += sides[:, index]
