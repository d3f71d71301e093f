"""Hyperparameters of a training run. Light: the Snakefile imports it."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from codekd.study.base import Model

ClassWeights = dict[str, Annotated[float, Field(ge=1e-3, le=1e3)]]


class Training(Model):
    """Training of a teacher or a student: AdamW, linear warm-up and decay, batches under a token budget."""

    epochs: int = Field(5, gt=0, description="Passes over the training set.")
    learning_rate: float = Field(5e-5, gt=0, description="Peak learning rate.")
    warmup: float = Field(0.1, ge=0, lt=1, description="Share of the steps in which the learning rate rises.")
    weight_decay: float = Field(0.0, ge=0, description="Decoupled weight decay of AdamW.")
    clip: float = Field(1.0, gt=0, description="Largest norm of the gradient.")
    batch_size: int = Field(32, gt=0, description="Most examples in a batch.")
    batch_tokens: int = Field(8192, gt=0, description="Most tokens in a batch, padding included.")
    word_dropout: float = Field(0.0, ge=0, lt=1, description="Share of input tokens replaced by the mask token.")
    class_weights: Literal["balanced"] | ClassWeights | None = Field(
        None,
        description="Weights of the classes in the cross-entropy with the labels: `balanced`, inverse to the number of "
        "train examples with the label, or one for each class, such as `{clean: 1.0, buggy: 4.0}`; null for none.",
    )

    @field_validator("class_weights", mode="before")
    @classmethod
    def _balanced_or_by_name(cls, weights: Any) -> Any:
        by_name = isinstance(weights, dict) and all(
            isinstance(one, int | float) and 1e-3 <= one <= 1e3 for one in weights.values()
        )
        if not (weights is None or weights == "balanced" or by_name):
            raise ValueError(
                "write `balanced`, or for each class a number from 0.001 to 1000, such as `{clean: 1.0, buggy: 4.0}`"
            )
        return weights
