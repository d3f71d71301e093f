"""Angles between the examples of a batch, compared without keeping them."""

from typing import Any

import torch
from torch import Tensor

ALIKE = 1e-6
"""Share of the mean squared distance below which two states count as the same: there is no angle between them."""

BLOCK = 2**15
"""Angles that are in the processor's cache at a time."""


def angle_difference(student: Tensor, teacher: Tensor) -> Tensor:
    """Smooth L1 between the cosines of all angles, summed: at i between j and k, all different.

    Both are states ``(heads, batch, width)``, of any two widths; the gradient flows into the student's. The cosine is 0
    where j or k is in the same place as i.
    """
    return _AngleDifference.apply(student, teacher)


class _AngleDifference(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor) -> Tensor:
        gradient, total = torch.empty_like(student), student.new_zeros(())
        heads = max(1, BLOCK // student.shape[1] ** 3)
        for ours, theirs, out in zip(*(one.split(heads) for one in (student, teacher, gradient)), strict=True):
            (first, inverse), (second, _) = _directions(ours), _directions(theirs)
            # The cosines at i are the products of the directions from i.
            error = torch.baddbmm(second @ second.mT, first, first.mT, beta=-1)
            error.diagonal(dim1=-2, dim2=-1).zero_()
            slope = error.clamp(-1, 1)
            total += slope.flatten() @ error.flatten() - slope.flatten() @ slope.flatten() / 2
            turned = 2 * (slope @ first)
            turned = (turned - first * (turned * first).sum(-1, keepdim=True)) * inverse
            turned = turned.view(*ours.shape[:2], *ours.shape[1:])
            torch.sub(turned.sum(1), turned.sum(2), out=out)
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return gradients[0] * gradient, None


def _directions(states: Tensor) -> tuple[Tensor, Tensor]:
    """Of length 1 from i to j, ``(heads * batch, batch, width)``, and one over the distances, the same with width 1.

    Both are 0 from an example to itself and to those in the same place.
    """
    differences = states.unsqueeze(1) - states.unsqueeze(2)
    squares = differences.square().sum(-1, keepdim=True)
    apart = squares > ALIKE * squares.mean((1, 2), keepdim=True)
    inverse = torch.where(apart, squares, 1).rsqrt() * apart
    return (differences * inverse).flatten(0, 1), inverse.flatten(0, 1)
