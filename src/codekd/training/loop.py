"""The one training loop, of teachers and of the students of every method."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from codekd.data.batches import Encoded, Rows, training_batches
from codekd.errors import CodekdError, NotFiniteError
from codekd.memory import return_memory
from codekd.models.device import Device
from codekd.models.inference import named
from codekd.progress import track
from codekd.study.training import Training
from codekd.training import checkpoint
from codekd.training.energy import Meter
from codekd.training.step import Objective, Stepper

log = logging.getLogger("codekd")
RETURN_EVERY = 100

VALID = "valid_"
"""Prefix of validation scores in a history."""


@dataclass(frozen=True)
class Fit:
    """Finished training run.

    Attributes:
        history: one row an epoch: loss, times, energy and validation scores.
        best: weights after the best epoch.
        last: weights after the last epoch.
        best_epoch: number of the best epoch, from 1.
        parts: number of parts that a batch was cut into at last, so that it fitted into memory or several processes
            shared it.
    """

    history: list[dict[str, Any]]
    best: checkpoint.State
    last: checkpoint.State
    best_epoch: int
    parts: int

    def describe_parts(self, objective: Objective) -> dict[str, Any]:
        """Numbers for the manifest; where batches were cut, a loss that relates examples related those of a part."""
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
    """Train a model, and keep the epoch that is best by a validation score; of equals, the earlier.

    The order of the examples and every dropout depend on ``seed`` and the epoch alone, so a run that is killed resumes
    from its last epoch in ``scratch`` and ends with the same weights.

    Args:
        model: trained in place.
        objective: loss, and what is trained beside the model.
        train: examples to learn from, with the signals that the loss reads.
        evaluate: gives validation scores by name.
        settings: numbers of the training.
        seed: seed of order and dropout.
        metric: name of the score that chooses the best epoch.
        device: device and precision.
        scratch: folder of the checkpoint.
        name: what is trained, for messages.

    Raises:
        CodekdError: the loss, the gradient, the weights or what ``evaluate()`` looks at stopped being finite.
    """
    stepper = Stepper(model, objective, settings, device, name)
    processes = stepper.processes
    plan = [_batches(train, settings, seed, epoch) for epoch in range(settings.epochs)]
    steps = sum(len(batches) for batches in plan)
    history: list[dict[str, Any]] = []
    best: checkpoint.State = {}
    own = model.state_dict()
    if resumed := checkpoint.load(scratch, {"model": own, "best": own, "parts": objective.parts.state_dict()}):
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
    """Number of the epoch with the highest validation score, the earliest of equals; counted from 1."""
    return max(history, key=lambda row: row[f"{VALID}{metric}"])["epoch"]


def valid_scores(row: Mapping[str, Any]) -> dict[str, float]:
    """Validation scores after an epoch, out of its row of the history."""
    return {key.removeprefix(VALID): value for key, value in row.items() if key.startswith(VALID)}


def _batches(train: Encoded, settings: Training, seed: int, epoch: int) -> list[Rows]:
    generator = np.random.default_rng([seed, epoch])
    return training_batches(train.padded_lengths, settings.batch_size, settings.batch_tokens, generator)


def _weights(model: torch.nn.Module) -> checkpoint.State:
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
