"""The one training loop: teachers and students of every method go through it."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from codekd.data.batches import Batch, Encoded, Rows, training_batches
from codekd.errors import CodekdError, NotFiniteError
from codekd.memory import return_memory
from codekd.models.device import Device, set_training_attention
from codekd.models.head import ClassifierOutput
from codekd.models.inference import named
from codekd.models.vocabulary import Vocabulary
from codekd.progress import track
from codekd.study.training import Training
from codekd.training import checkpoint
from codekd.training.energy import Meter
from codekd.training.processes import Processes

log = logging.getLogger("codekd")
RETURN_EVERY = 100
SMALLEST_SCALE = 1.0
"""Of a loss in half precision: below it the gradient would not be finite if it were not scaled at all."""

VALID = "valid_"
"""Begins the names of validation scores in a history."""

Loss = Callable[[ClassifierOutput, Batch, torch.nn.Module], Tensor]


@dataclass(frozen=True)
class Objective:
    """What is minimised: ``loss(outputs, batch, parts)``, with ``parts`` trained beside the model.

    ``states`` says whether the loss reads the model's states and not its logits alone, ``relates_examples`` whether
    that of a part of a batch is another one, and ``step_taken(parts)`` is called after each step.
    """

    loss: Loss
    parts: torch.nn.Module = field(default_factory=torch.nn.Module)
    states: bool = False
    relates_examples: bool = False
    step_taken: Callable[[torch.nn.Module], None] = lambda _: None


@dataclass(frozen=True)
class Fit:
    """A finished run: one row an epoch, and the weights after the best and the last epoch.

    ``parts`` is into how many a batch was cut at last, so that it fitted into memory or several processes shared it.
    """

    history: list[dict[str, Any]]
    best: checkpoint.State
    last: checkpoint.State
    best_epoch: int
    parts: int

    def describe_parts(self, objective: Objective) -> dict[str, Any]:
        """For the manifest; where batches were cut, a loss that relates examples related those of a part."""
        return {
            "parts_of_a_batch": self.parts,
            "related_within_parts": self.parts > 1 and objective.relates_examples,
        }


def fit(
    model: PreTrainedModel,
    objective: Objective,
    train: Encoded,
    evaluate: Callable[[], Mapping[str, float]],
    settings: Training,
    *,
    seed: int,
    metric: str,
    device: Device,
    scratch: Path,
    name: str,
) -> Fit:
    """Train a model and keep the epoch that is best by a metric of what ``evaluate()`` gives; of equals, the earlier.

    The order of the examples and every dropout depend on ``seed`` and the epoch alone, so a run that is killed
    resumes from its last epoch in ``scratch`` and ends with the same weights.

    Raises:
        CodekdError: the loss, the gradient, the weights or what ``evaluate()`` looks at stopped being finite.
    """
    stepper = Stepper(model, objective, settings, device, name)
    processes = stepper.processes
    plan = [_batches(train, settings, seed, epoch) for epoch in range(settings.epochs)]
    steps = sum(len(batches) for batches in plan)
    history: list[dict[str, Any]] = []
    best: checkpoint.State = {}
    if resumed := checkpoint.load(scratch):
        parts, history = resumed
        model.load_state_dict(parts["model"])
        objective.parts.load_state_dict(parts.get("parts", {}))
        checkpoint.restore_optimizer(stepper.optimizer, parts["optimizer"])
        checkpoint.restore_scaler(stepper.scaler, parts.get("scaler", {}))
        stepper.parts = max(1, history[-1]["parts"] // processes.count)
        best = parts["best"]
        log.info("%s: resumed after epoch %d", name, len(history))

    @contextmanager
    def stopping(where: str, epoch: int) -> Iterator[None]:
        try:
            yield
        except NotFiniteError as error:
            kept = f"The last good state, after epoch {epoch}, is kept in {scratch}." if epoch else ""
            raise CodekdError(
                f"{name}: {error} {where}. Lower the learning rate. {kept or 'There is no good state before.'}"
            ) from None

    for epoch, batches in enumerate(plan):
        if epoch < len(history):
            continue
        torch.manual_seed(seed * 1000 + epoch + processes.index * 2**32)
        started, cpu_started, meter = time.perf_counter(), time.process_time(), Meter()
        done = sum(len(earlier) for earlier in plan[:epoch])
        total = 0.0
        stepper.trained.train()
        shown = track(batches, description=f"{name}, epoch {epoch + 1}/{settings.epochs}", unit="batch")
        for index, rows in enumerate(shown):
            for group in stepper.optimizer.param_groups:
                group["lr"] = settings.learning_rate * schedule(done + index, steps, settings.warmup)
            step = f"step {done + index} (epoch {epoch + 1})"
            with stopping(f"at {step}, on the examples {named(train, rows)}", epoch):
                total += stepper.step(train, rows) * len(rows)
            joules = meter.joules()
            if index % RETURN_EVERY == 0:
                return_memory()
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
        with stopping(f"after {step}", epoch):
            stepper.check()

        row = {
            "epoch": epoch + 1,
            "loss": total / len(train),
            "seconds": seconds,
            "cpu_seconds": cpu_seconds,
            "joules": joules,
            "examples": len(train),
            "parts": stepper.parts_of_a_batch,
        }
        if not processes.first:
            processes.wait()
            continue
        with stopping(f"after {step}", epoch):
            row |= {f"{VALID}{key}": value for key, value in evaluate().items()}
        history.append(row)
        if best_epoch(history, metric) == epoch + 1:
            best = _weights(model)
        states = {
            "model": _weights(model),
            "parts": _weights(objective.parts),
            "optimizer": checkpoint.optimizer_state(stepper.optimizer),
            "scaler": checkpoint.scaler_state(stepper.scaler),
            "best": best,
        }
        checkpoint.save(scratch, states, history)
        processes.wait()
        log.info(
            "%s: epoch %d/%d, loss %.4f, valid %s %.4f, %.0f examples/s, about %.0f s left",
            name,
            epoch + 1,
            settings.epochs,
            row["loss"],
            metric,
            row[f"{VALID}{metric}"],
            len(train) / seconds,
            (settings.epochs - epoch - 1) * (time.perf_counter() - started),
        )
    parts_at_last = history[-1]["parts"] if history else stepper.parts_of_a_batch
    return Fit(history, best, _weights(model), best_epoch(history, metric) if history else 0, parts_at_last)


def schedule(step: int, steps: int, warmup: float) -> float:
    """Factor of the learning rate: a linear rise over the share ``warmup`` of the steps, then a linear fall to 0."""
    rise = warmup * steps
    if step < rise:
        return (step + 1) / (rise + 1)
    return (steps - step) / max(1.0, steps - rise)


def best_epoch(history: list[dict[str, Any]], metric: str) -> int:
    """The epoch with the highest validation score, the earliest of equals; counted from 1."""
    return max(history, key=lambda row: row[f"{VALID}{metric}"])["epoch"]


def valid_scores(row: Mapping[str, Any]) -> dict[str, float]:
    """What ``evaluate()`` gave after an epoch, out of its row of the history."""
    return {key.removeprefix(VALID): value for key, value in row.items() if key.startswith(VALID)}


def _batches(train: Encoded, settings: Training, seed: int, epoch: int) -> list[Rows]:
    generator = np.random.default_rng([seed, epoch])
    return training_batches(train.lengths, settings.batch_size, settings.batch_tokens, generator)


class Stepper:
    """A model and the objective's parts on a device, and the AdamW that trains them.

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
        """Into how many a batch is cut, by all processes together, where it has as many examples."""
        return self.parts * self.processes.count

    def step(self, train: Encoded, rows: Rows) -> float:
        """Take a step on the examples at some rows, and return their loss.

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
        """Look at all that was trained.

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


def _weights(model: torch.nn.Module) -> checkpoint.State:
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}


def drop_words(batch: Batch, share: float, vocabulary: Vocabulary) -> Tensor:
    """``batch.input_ids`` with a random share of the tokens of code replaced by the mask token."""
    if not share:
        return batch.input_ids
    special = torch.tensor(vocabulary.special_ids, device=batch.input_ids.device)
    drop = torch.rand(batch.input_ids.shape, device=batch.input_ids.device) < share
    drop &= ~torch.isin(batch.input_ids, special)
    return batch.input_ids.masked_fill(drop, vocabulary.mask_id)
