"""Step of a training run: gradient of a batch, whole or in parts, and update of the weights."""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from codekd.data.batches import Batch, Encoded, Rows
from codekd.errors import CodekdError, NotFiniteError
from codekd.models.device import Device, set_training_attention
from codekd.models.head import ClassifierOutput
from codekd.models.vocabulary import Vocabulary
from codekd.study.training import Training
from codekd.training.processes import Processes

log = logging.getLogger("codekd")
SMALLEST_SCALE = 1.0
"""Smallest scale of a loss in half precision: below it the gradient is not finite without any scaling either."""

Loss = Callable[[ClassifierOutput, Batch, torch.nn.Module], Tensor]


@dataclass(frozen=True)
class Objective:
    """Objective of a training run.

    Attributes:
        loss: scalar to minimise, ``loss(outputs, batch, parts)``.
        parts: layers that are trained beside the model.
        states: whether the loss reads the model's states and not its logits alone.
        relates_examples: whether the loss of a part of a batch is another one.
        step_taken: called after each step, as ``step_taken(parts)``.
    """

    loss: Loss
    parts: torch.nn.Module = field(default_factory=torch.nn.Module)
    states: bool = False
    relates_examples: bool = False
    step_taken: Callable[[torch.nn.Module], None] = lambda _: None


class Stepper:
    """Model and parts of the objective on a device, and the AdamW that trains them.

    A batch that does not fit into memory is cut into ``parts``, from then on, and several processes take as many each:
    their gradients add up to that of the whole. A loss that relates the examples of a batch then relates those of a
    part.
    """

    def __init__(
        self, model: PreTrainedModel, objective: Objective, settings: Training, device: Device, name: str
    ) -> None:
        set_training_attention(model, device)
        self.trained = torch.nn.ModuleDict({"model": model, "parts": objective.parts}).to(device.device)
        self.optimizer = torch.optim.AdamW(
            self.trained.parameters(),
            lr=settings.learning_rate,
            eps=1e-8,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self.parts = 1
        self.processes = Processes.current()
        self.scaler = torch.amp.GradScaler(device.device.type, enabled=device.dtype == torch.float16)
        self._objective = objective
        self._settings = settings
        self._device = device
        self._name = name

    @property
    def parts_of_a_batch(self) -> int:
        """Number of parts that all processes together cut a batch into, if it has as many examples."""
        return self.parts * self.processes.count

    def step(self, train: Encoded, rows: Rows) -> float:
        """Take a step on the examples at some rows of ``train``, and return their loss.

        Raises:
            NotFiniteError: the loss or the gradient is not finite; the weights are as before.
            CodekdError: a single example does not fit into memory.
        """
        whole = train.batch(rows, self._device.device)
        whole = replace(whole, shown=drop_words(whole, self._settings.word_dropout, train.vocabulary))
        while (value := self._gradient(train, whole)) is None:
            self._halve(len(rows))
        value = self.processes.add(self.trained.parameters(), value)
        _check_finite("the loss", value)
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.trained.parameters(), self._settings.clip)
        if not self.scaler.is_enabled():
            _check_finite("the norm of the gradient", norm.item())
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self._objective.step_taken(self._objective.parts)
        return value

    def check(self) -> None:
        """Check that all that was trained is finite.

        Raises:
            NotFiniteError: a weight is not finite, or no gradient was, however much it was scaled down.
        """
        for name, weight in self.trained.named_parameters():
            if not weight.isfinite().all():
                raise NotFiniteError(f"the weights {name} are not all finite")
        if self.scaler.is_enabled() and self.scaler.get_scale() < SMALLEST_SCALE:
            raise NotFiniteError(f"the gradient is not finite at a scale of {self.scaler.get_scale():.2g}")

    def _gradient(self, train: Encoded, whole: Batch) -> float | None:
        """Compute this process's share of the gradient and the loss; None if a process had too little memory."""
        self.optimizer.zero_grad(set_to_none=True)
        examples = len(whole.rows)
        cuts = np.array_split(np.arange(examples), min(self.parts_of_a_batch, examples))
        value, fits = 0.0, True
        try:
            for places in cuts[self.processes.index :: self.processes.count]:
                part = train.part(whole, places) if len(cuts) > 1 else whole
                value += self._add_gradient(part, len(places) / examples)
        except torch.OutOfMemoryError:
            fits = False
        return value if self.processes.all(fits) else None

    def _add_gradient(self, batch: Batch, share: float) -> float:
        with self._device.autocast():
            output = self.trained["model"](
                input_ids=batch.shown,
                attention_mask=batch.attention_mask,
                token_type_ids=batch.token_type_ids,
                output_hidden_states=self._objective.states,
            )
        value = self._objective.loss(output, batch, self._objective.parts) * share
        self.scaler.scale(value).backward()
        return value.item()

    def _halve(self, examples: int) -> None:
        if self.parts_of_a_batch >= examples:
            raise CodekdError(f"{self._name}: one example does not fit into memory. Lower `max_length`.")
        self.parts *= 2
        log.warning("%s: out of memory; from here on batches are cut into %d parts", self._name, self.parts_of_a_batch)
        if self._device.device.type == "cuda":
            torch.cuda.empty_cache()


def _check_finite(what: str, number: float) -> None:
    if not math.isfinite(number):
        raise NotFiniteError(f"{what} is {number}")


def drop_words(batch: Batch, share: float, vocabulary: Vocabulary) -> Tensor:
    """Token ids of a batch with a random share of the tokens of code replaced by the mask token.

    Args:
        batch: has ``input_ids`` ``(rows, length)``.
        share: share of the tokens, from 0 to 1; special tokens are never replaced.
        vocabulary: names the special tokens and the mask.
    """
    if not share:
        return batch.input_ids
    special = torch.tensor(vocabulary.special_ids, device=batch.input_ids.device)
    drop = torch.rand(batch.input_ids.shape, device=batch.input_ids.device) < share
    drop &= ~torch.isin(batch.input_ids, special)
    return batch.input_ids.masked_fill(drop, vocabulary.mask_id)
