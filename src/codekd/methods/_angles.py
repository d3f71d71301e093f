"""Angles between the examples of a batch, compared without keeping them."""

from typing import Any

import torch
from torch import Tensor

ALIKE = 1e-6
"""Share of the mean squared distance below which two states count as the same: there is no angle between them."""

BLOCK = 2**17
"""Angles that are in the processor's cache at a time."""


def squared_distances(states: Tensor) -> Tensor:
    """``(..., batch, batch)`` of ``states`` ``(..., batch, width)``."""
    centred = states - states.detach().mean(-2, keepdim=True)
    products = centred @ centred.mT
    squares = products.diagonal(dim1=-2, dim2=-1)
    return (squares.unsqueeze(-1) + squares.unsqueeze(-2) - 2 * products).clamp(min=0)


def angle_difference(student: Tensor, teacher: Tensor) -> Tensor:
    """Smooth L1 between the cosines of all angles, summed: at i between j and k, all different.

    Both are squared distances ``(heads, batch, batch)``; the gradient flows into the student's. The cosine is 0 where
    j or k is in the same place as i.
    """
    return _AngleDifference.apply(student, teacher)


class _AngleDifference(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor) -> Tensor:
        gradient, total = torch.zeros_like(student), student.new_zeros(())
        heads = max(1, BLOCK // student.shape[-1] ** 3)
        for ours, theirs, out in zip(*(one.split(heads) for one in (student, teacher, gradient)), strict=True):
            inverse = _inverse(ours)
            cosines = _cosines(ours, inverse)
            error = cosines - _cosines(theirs, _inverse(theirs))
            error.diagonal(dim1=-2, dim2=-1).zero_()
            slope = error.clamp(-1, 1)
            total += (slope * error).sum() - slope.square().sum() / 2
            # A distance is twice a side of angles at its end, and once opposite to those at every other example.
            side = (slope @ inverse.unsqueeze(-1)).squeeze(-1)
            out += inverse * side - inverse.square() * cosines.mul_(slope).sum(-1)
            out -= slope.mul_(inverse.unsqueeze(-1)).mul_(inverse.unsqueeze(-2)).sum(-3) / 2
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return gradients[0] * gradient, None


def _inverse(squares: Tensor) -> Tensor:
    """One over the distances, 0 from an example to itself and to those in the same place."""
    apart = squares > ALIKE * squares.mean((-2, -1), keepdim=True)
    return torch.where(apart, squares, 1).rsqrt() * apart


def _cosines(squares: Tensor, inverse: Tensor) -> Tensor:
    """``(heads, i, j, k)``: of the angle at i between j and k."""
    sides = squares.unsqueeze(-1) + squares.unsqueeze(-2)
    return sides.sub_(squares.unsqueeze(-3)).mul_(inverse.unsqueeze(-1)).mul_(inverse.unsqueeze(-2)).div_(2)
