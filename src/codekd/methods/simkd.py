"""SimKD: the student learns the teacher's features and answers with the teacher's classifier (Chen et al. 2022)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from codekd.methods.base import Method, at_least_float32

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from codekd.data.batches import Batch
    from codekd.models.head import ClassifierOutput


def feature_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of the student's projected states and the teacher's, both ``(batch, width)``.

    Source: Chen et al., "Knowledge Distillation with the Reused Teacher Classifier", CVPR 2022, arXiv 2203.14001,
    equation 2.
    """
    from torch.nn.functional import mse_loss

    return mse_loss(at_least_float32(student), at_least_float32(teacher))


class Config(Method):
    """``MSE(P h_s, h_t)`` on the last pooled states and nothing else: labels and logits play no role in training.

    P is a learned linear map with a bias, where the source has convolutions over feature maps. It stays in the student,
    as does the teacher's classification head, frozen with all its layers; both count in the student's parameters.
    """

    signals: ClassVar[tuple[str, ...]] = ("pooled",)
    reuses_head: ClassVar[bool] = True

    kind: Literal["simkd"] = Field(default="simkd", description="The teacher's classifier, reused.")

    def loss(self, outputs: ClassifierOutput, batch: Batch, parts: Module) -> Tensor:
        """Loss on the features, the last pooled states."""
        assert outputs.features is not None
        return feature_loss(outputs.features, batch.teacher["pooled"][:, -1])
