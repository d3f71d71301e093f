"""Stage ``starts``: initial weights of a student, trained on code once for all its tasks, methods and seeds."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from codekd.data.batches import Batch, Encoded, load_encoded
from codekd.data.rows import Captured, Fixed
from codekd.models.device import Device, choose_device
from codekd.models.head import ClassifierOutput
from codekd.models.inference import outputs
from codekd.models.masked import MaskedHead, gain_for, masked_loss
from codekd.models.start import save_start
from codekd.models.vocabulary import read_vocabulary
from codekd.signals.base import Signal
from codekd.signals.format import read_signal
from codekd.starts.base import Start, TrainedStart
from codekd.study import components
from codekd.training.loop import fit
from codekd.training.masked import masked_accuracy
from codekd.training.step import Objective
from codekd.training.transfer import with_signals

if TYPE_CHECKING:
    from codekd.study.job import Job

LEARNED_FROM, JUDGED_ON = ("unlabeled",), ("valid",)
CLASSES = 2
"""Classes of a head that is not kept."""


def run(job: "Job", folder: Path) -> dict[str, Any]:
    """Make the weights that a student begins from, and write them without those of its head."""
    start: Start = components.parse("starts", job.spec["start"])
    architecture = components.parse("students", job.spec["architecture"])
    vocabulary = read_vocabulary(job.parents["tokenizer" if "tokenizer" in job.parents else "encoded"])
    torch.manual_seed(start.seed)
    model = architecture.build(vocabulary, CLASSES, architecture.plain_pooling)
    summary = start.begin(model, job.parents, job.spec)
    if isinstance(start, TrainedStart):
        summary |= _trained(job, folder, start, model, architecture.layers)
    return {"weights": save_start(model.cpu(), folder), **summary, **choose_device(model).describe()}


def _trained(job: "Job", folder: Path, start: TrainedStart, model: PreTrainedModel, layers: int) -> dict[str, Any]:
    """Train a student in place, and return its scores on held-out windows."""
    requests = start.requests(layers)
    train = _windows(job.parents, LEARNED_FROM, requests)
    valid = _windows(job.parents, JUDGED_ON, [one for one in requests if set(JUDGED_ON) <= {*one.splits}])
    trained = _Parts(start, model, {kind: signal.shape for kind, signal in train.signals.items()})
    objective = Objective(partial(_loss, start, model), trained, states=True, relates_examples=start.relates_examples)
    device = choose_device(model)
    fitted = fit(
        model,
        objective,
        train,
        lambda: _scores(start, model, trained, valid, device),
        start.training,
        seed=start.seed,
        metric=start.measure,
        device=device,
        scratch=job.scratch,
        name=job.name,
    )
    model.load_state_dict(fitted.best)
    pl.DataFrame(fitted.history, schema_overrides={"joules": pl.Float64}).write_parquet(folder / "history.parquet")
    best = fitted.history[fitted.best_epoch - 1]
    return {
        "windows": len(train),
        "tokens": int(train.lengths.sum()) * len(fitted.history),
        "best_epoch": fitted.best_epoch,
        "train_cpu_seconds": round(sum(row["cpu_seconds"] for row in fitted.history), 3),
        **{key: value for key, value in best.items() if key == "loss" or key.startswith("valid_")},
        **fitted.describe_parts(objective),
    }


class _Parts(nn.Module):
    """Layers that are trained beside a student and thrown away: the head that guesses tokens, and the start's own."""

    def __init__(self, start: TrainedStart, model: PreTrainedModel, teacher: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__()
        width = _width(model)
        self.head = None
        if start.masking:
            embeddings = model.get_input_embeddings().weight
            self.head = MaskedHead(width, embeddings, gain_for(embeddings))
        self.own = start.parts(width, teacher)


def _width(model: PreTrainedModel) -> int:
    """Width of a student's last states."""
    with torch.inference_mode():
        token = torch.ones(1, 1, dtype=torch.int64)
        output = model(token, token, output_hidden_states=True)
    width: int = output.hidden_states[-1].shape[-1]
    return width


def _loss(
    start: TrainedStart, model: PreTrainedModel, output: ClassifierOutput, batch: Batch, parts: nn.Module
) -> Tensor:
    assert isinstance(parts, _Parts)
    assert output.hidden_states is not None
    loss = start.loss(output, batch, parts.own)
    if parts.head is None:
        return loss
    embeddings = model.get_input_embeddings().weight
    return loss + start.masking * masked_loss(output.hidden_states[-1], batch, parts.head, embeddings)


def _scores(
    start: TrainedStart, model: PreTrainedModel, parts: _Parts, valid: Encoded, device: Device
) -> dict[str, float]:
    scores = {}
    if parts.head is not None:
        guess = partial(parts.head, embeddings=model.get_input_embeddings().weight)
        scores["accuracy"] = masked_accuracy(model, guess, valid, device, start.training.word_dropout)
    if start.measure not in scores:
        with torch.inference_mode():
            found = [
                start.likeness(output, batch, parts.own) for _, batch, output in outputs(model, valid, device, True)
            ]
        scores[start.measure] = torch.cat(found).mean().item()
    return scores


def _windows(parents: Mapping[str, Path], splits: Sequence[str], requests: Sequence[Signal]) -> Encoded:
    """Windows as a student reads them, with the signals that were captured of them."""
    data = load_encoded(parents["encoded"], splits)
    signals = {one.kind: _captured(parents, splits, one.kind, data.ids) for one in requests}
    return with_signals(data, signals, requests, parents, splits)


def _captured(parents: Mapping[str, Path], splits: Sequence[str], kind: str, ids: Sequence[str]) -> Captured:
    """Signal of one teacher, or mean of those of several."""
    folders = [folder for role, folder in sorted(parents.items()) if role.split("/")[:2] == ["signals", kind]]
    first, *others = (read_signal(folder, splits, kind, ids) for folder in folders)
    if not others:
        return first
    return Fixed(np.mean([one.values.astype(np.float32) for one in (first, *others)], axis=0))
