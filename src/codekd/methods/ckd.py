"""Contextual knowledge distillation: relations between words and across layers (Park et al. 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from codekd.methods import kd
from codekd.signals import relations
from codekd.signals.base import Signal

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from codekd.data.batches import Batch
    from codekd.models.head import ClassifierOutput


class Config(kd.Config):
    """``kd + beta WR + gamma LTR``: word relation and layer-transforming relation.

    WR compares, in every kept layer, the cosine distances of units at most ``window`` apart and the cosines of the
    angles that two units of a window form at its centre; LTR does so for the layers at a unit. Each is the mean
    squared difference over what both models' windows show. Units are lexemes, or tokens matched by position.

    Source: Park et al., "Distilling Linguistic Context for Language Model Compression", EMNLP 2021,
    arXiv 2109.08359, section 3, with the mean squared error and the weights of arXiv 2508.15423.
    """

    signals: ClassVar[tuple[str, ...]] = ("logits", "relations")
    student_states: ClassVar[bool] = True

    kind: Literal["ckd"] = Field(default="ckd", description="Contextual knowledge distillation.")  # type: ignore[assignment]
    units: Literal["lexeme", "token"] = Field(default="lexeme", description="What relations are taken between.")
    window: int = Field(default=10, ge=1, le=64, description="Units on each side of a centre.")
    beta: float = Field(default=10.0, ge=0, description="Weight of the relations between units.")
    gamma: float = Field(default=10.0, ge=0, description="Weight of the relations across layers.")

    def requests(self, layers: int) -> tuple[Signal, ...]:
        """Logits, and relations in as many layers as the student has."""
        return Signal(kind="logits"), self._relations(layers)

    def _relations(self, layers: int) -> relations.Config:
        return relations.Config(units=self.units, window=self.window, layers=layers)

    def loss(self, outputs: ClassifierOutput, batch: Batch, parts: Module) -> Tensor:
        """The loss of ``kd`` and those of the relations."""
        between, across = self.relation_losses(outputs, batch)
        return super().loss(outputs, batch, parts) + self.beta * between + self.gamma * across

    def relation_losses(self, outputs: ClassifierOutput, batch: Batch) -> tuple[Tensor, Tensor]:
        """WR and LTR of a batch."""
        import torch

        from codekd.signals.bands import (
            band,
            layer_angles,
            layer_distances,
            mean_squared_angle_difference,
            neighbours,
        )

        assert outputs.hidden_states is not None
        assert batch.units is not None
        rows = batch.teacher["relations"]
        layers = len(outputs.hidden_states) - 1
        states = torch.stack([batch.units.states(hidden) for hidden in outputs.hidden_states[1:]])
        mask = batch.units.mask & rows[..., 0].isfinite()
        euclidean, cosine, across, across_cosine = self._relations(layers).split(rows.nan_to_num())

        bands = band(states.flatten(0, 1), self.window)
        everywhere = mask.repeat(layers, 1)
        near = mean_squared(bands[1], cosine.flatten(0, 1), neighbours(everywhere, self.window))
        angles = mean_squared_angle_difference(bands[0], euclidean.flatten(0, 1), everywhere, self.window)

        distances, cosines = layer_distances(states)
        at_units = mask.unsqueeze(1)
        transforming = mean_squared(cosines, across_cosine, at_units)
        turning = mean_squared(layer_angles(distances, layers), layer_angles(across, layers), at_units)
        return near + angles, transforming + turning


def mean_squared(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Mean of the squared differences where ``mask`` is true; 0 if that is nowhere."""
    mask = mask.expand_as(student)
    return ((student - teacher).square() * mask).sum() / mask.sum().clamp(min=1)
