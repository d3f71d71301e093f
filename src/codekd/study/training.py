"""The numbers of a training run. Light: the Snakefile imports it."""

from pydantic import Field

from codekd.study.base import Model


class Training(Model):
    """How a teacher or a student is trained: AdamW, linear warm-up and decay, token-budget batches."""

    epochs: int = Field(5, gt=0, description="Passes over the training set.")
    learning_rate: float = Field(5e-5, gt=0, description="Peak learning rate.")
    warmup: float = Field(0.1, ge=0, lt=1, description="Share of the steps in which the learning rate rises.")
    weight_decay: float = Field(0.0, ge=0, description="Decoupled weight decay of AdamW.")
    clip: float = Field(1.0, gt=0, description="Largest norm of the gradient.")
    batch_size: int = Field(32, gt=0, description="Most examples in a batch.")
    batch_tokens: int = Field(8192, gt=0, description="Most tokens in a batch, padding included.")
    word_dropout: float = Field(0.0, ge=0, lt=1, description="Share of input tokens replaced by the mask token.")
