"""Angles between the examples of a batch, compared without storing them.

Shapes:
    heads: parts of a state that are compared on their own; 1 where states are whole.
    batch: examples of the batch.
    width: that of a head's states; those of student and teacher may differ.
"""

from typing import Any

import torch
from torch import Tensor

ALIKE = 1e-6
"""Squared distance, as a share of the mean one, below which two states count as the same and form no angle."""

BLOCK = 2**15
"""Number of angles computed at a time, so that they stay in the processor's cache."""


def angle_difference(student: Tensor, teacher: Tensor) -> Tensor:
    """Sum of the smooth L1 differences of all angles' cosines: angles at i between j and k, all different examples.

    The cosine is 0 where j or k has the same state as i.

    Args:
        student: states ``(heads, batch, width)``; the gradient flows here.
        teacher: states ``(heads, batch, width)`` of any width.
    """
    return _AngleDifference.apply(student, teacher)


class _AngleDifference(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor) -> Tensor:
        gradient, total = torch.empty_like(student), student.new_zeros(())
        heads = max(1, BLOCK // student.shape[1] ** 3)
        for ours, theirs, out in zip(*(one.split(heads) for one in (student, teacher, gradient)), strict=True):
            (first, inverse), (second, _) = _directions(ours), _directions(theirs)
            # Products of the directions from i are the cosines of the angles at i.
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
    """Unit vectors from i to j, ``(heads * batch, batch, width)``, and inverse distances, the same with width 1.

    Both are 0 from an example to itself and to those of the same state.
    """
    differences = states.unsqueeze(1) - states.unsqueeze(2)
    squares = differences.square().sum(-1, keepdim=True)
    apart = squares > ALIKE * squares.mean((1, 2), keepdim=True)
    inverse = torch.where(apart, squares, 1).rsqrt() * apart
    return (differences * inverse).flatten(0, 1), inverse.flatten(0, 1)
