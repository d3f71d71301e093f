"""Contextual knowledge distillation: relations between words and across layers (Park et al. 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from codekd.methods import kd
from codekd.methods._states import mean_squared
from codekd.signals import logits, relations
from codekd.signals.base import Signal

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor
    from torch.nn import Module

    from codekd.data.batches import Batch
    from codekd.models.head import ClassifierOutput


FAR = 1e4
"""Distance that gets no share of a softmax."""


class Config(kd.Config):
    """``kd + beta WR + gamma LTR``: word relation and layer-transforming relation.

    WR compares, in every kept layer, the cosine distances of units at most ``window`` apart and the cosines of the
    angles that two units of a window form at its centre; LTR does so for the layers at a unit. Each is the mean squared
    difference over what both models' windows show. Units are lexemes, or tokens matched by position.

    Source: Park et al., "Distilling Linguistic Context for Language Model Compression", EMNLP 2021, arXiv 2109.08359,
    section 3, with the mean squared error of arXiv 2508.15423, whose weights ``ckd-paper`` has.

    The authors' code has ``distance_loss: kl`` and separate weights for the angles. It also relates a unit to the whole
    sequence where the cache holds a window, counts the embedding output as a layer, and includes angles that hold a
    unit twice in the mean. A softmax over one other layer is constant: with ``kl`` and two layers, LTR has no distances
    left.
    """

    signals: ClassVar[tuple[str, ...]] = ("logits", "relations")
    student_states: ClassVar[bool] = True
    by_layer: ClassVar[bool] = True

    kind: Literal["ckd"] = Field(default="ckd", description="Contextual knowledge distillation.")  # type: ignore[assignment]
    units: Literal["lexeme", "token"] = Field(default="lexeme", description="What relations are taken between.")
    window: int = Field(default=10, ge=1, le=64, description="Units on each side of a centre.")
    distance_loss: Literal["mse", "kl"] = Field(
        default="mse",
        description="How distances are compared: by squared difference, or by KL of their softmax over all neighbours.",
    )
    beta: float = Field(default=1.0, ge=0, description="Weight of the relations between units.")
    beta_angle: float | None = Field(
        default=None, ge=0, description="Weight of the angles between units, where it is not beta."
    )
    gamma: float = Field(default=1.0, ge=0, description="Weight of the relations across layers.")
    gamma_angle: float | None = Field(
        default=None, ge=0, description="Weight of the angles across layers, where it is not gamma."
    )

    def requests(self, layers: int) -> tuple[Signal, ...]:
        """Signals ``logits``, and ``relations`` in as many layers as the student has."""
        return logits.Config(), self._relations(layers)

    def _relations(self, layers: int) -> relations.Config:
        return relations.Config(units=self.units, window=self.window, layers=layers)

    def loss(self, outputs: ClassifierOutput, batch: Batch, parts: Module) -> Tensor:
        """Loss of ``kd`` plus the weighted terms on relations."""
        return super().loss(outputs, batch, parts) + self.relational_loss(outputs, batch)

    def relational_loss(self, outputs: ClassifierOutput, batch: Batch) -> Tensor:
        """Weighted sum of the terms on relations, which needs no logits."""
        relations = zip(self.relation_losses(outputs, batch), self._counts(outputs), strict=True)
        near, angles, transforming, turning = (loss * batch.share(count) for loss, count in relations)
        beta_angle = self.beta if self.beta_angle is None else self.beta_angle
        gamma_angle = self.gamma if self.gamma_angle is None else self.gamma_angle
        between = self.beta * near + beta_angle * angles
        across = self.gamma * transforming + gamma_angle * turning
        return between + across

    def relation_losses(self, outputs: ClassifierOutput, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Terms of a batch, four scalars: distances and angles of WR, then those of LTR."""
        import torch

        from codekd.signals.bands import (
            around,
            band,
            layer_angles,
            layer_distances,
            mean_squared_angle_difference,
            neighbours,
            other_layers,
        )

        assert outputs.hidden_states is not None
        assert batch.units is not None
        layers = len(outputs.hidden_states) - 1
        states = torch.stack([batch.units.states(hidden) for hidden in outputs.hidden_states[1:]])
        mask = _units_of_both(batch)
        euclidean, cosine, across, across_cosine = self._taught(batch, layers)

        bands = band(states.flatten(0, 1), self.window)
        everywhere = mask.repeat(layers, 1)
        near = bands[1], cosine.flatten(0, 1), neighbours(everywhere, self.window)
        angles = mean_squared_angle_difference(bands[0], euclidean.flatten(0, 1), everywhere, self.window)

        distances, cosines = layer_distances(states)
        at_units = mask.unsqueeze(1)
        turning = mean_squared(layer_angles(distances, layers), layer_angles(across, layers), at_units)
        if self.distance_loss == "mse":
            return mean_squared(*near), angles, mean_squared(cosines, across_cosine, at_units), turning
        transforming = other_layers(cosines, layers), other_layers(across_cosine, layers), at_units.unsqueeze(1)
        return divergence(*(around(one, self.window) for one in near)), angles, divergence(*transforming), turning

    def _taught(self, batch: Batch, layers: int) -> tuple[Tensor, ...]:
        return self._relations(layers).split(batch.teacher["relations"].nan_to_num())

    def _counts(self, outputs: ClassifierOutput) -> tuple[Callable[[Batch], Tensor], ...]:
        """Functions that count in a batch what each of the ``relation_losses`` is a mean over in a layer.

        Angles are counted in all layers, for the teacher's units may coincide in one of them; the student's do where
        they are made of the same tokens.
        """
        from codekd.signals.bands import ALIKE, angles, around, neighbours, unlike

        assert outputs.hidden_states is not None
        layers = len(outputs.hidden_states) - 1

        def units(batch: Batch) -> Tensor:
            return _units_of_both(batch).sum()

        def distances(batch: Batch) -> Tensor:
            there = neighbours(_units_of_both(batch), self.window)
            if self.distance_loss == "mse":
                return there.sum()
            return 2 * there.sum() + around(there, self.window).any(1).sum()

        def all_angles(batch: Batch) -> Tensor:
            assert batch.units is not None
            there = neighbours(_units_of_both(batch), 2 * self.window)
            there = there & unlike(batch.units.content(), 2 * self.window)
            apart = there & (self._taught(batch, layers)[0] > ALIKE)
            return angles(around(apart.flatten(0, 1), self.window))

        return distances, all_angles, units, units


def _units_of_both(batch: Batch) -> Tensor:
    """Mask ``(sequences, units)`` of the units that both models' windows show."""
    assert batch.units is not None
    return batch.units.mask & batch.teacher["relations"][..., 0].isfinite()


def divergence(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """``KL(p_t, p_s)`` with ``p = softmax(-distance)`` over neighbours: its sum over the number of pairs.

    The pair of a unit with itself counts.

    Args:
        student: distances ``(..., neighbours, units)``.
        teacher: the same of the teacher.
        mask: which distances there are; broadcasts to their shape.
    """
    mask = mask.expand_as(student)
    first, second = ((-one.masked_fill(~mask, FAR)).log_softmax(-2) for one in (student, teacher))
    return (second.exp() * (second - first)).sum() / (mask.sum() + mask.any(-2).sum()).clamp(min=1)
