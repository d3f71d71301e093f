"""Stage ``students``: a student trained with a method, one cell of the grid, from scratch or from its start."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import PreTrainedModel

from codekd.data.batches import Encoded, load_encoded, shards
from codekd.data.splits import TRANSFER
from codekd.methods.base import Sizes
from codekd.models.head import reuse_head
from codekd.models.inference import pooled_widths
from codekd.models.start import load_start
from codekd.signals.format import read_signal
from codekd.study import components
from codekd.training.controls import repeated, shuffled_within_classes
from codekd.training.run import train_model
from codekd.training.selected import with_choice
from codekd.training.step import Objective
from codekd.training.transfer import with_signals

if TYPE_CHECKING:
    from codekd.study.job import Job

LEARNED_FROM = {"labelled": ("train",), "all": TRANSFER}


def run(job: "Job", folder: Path) -> dict[str, Any]:
    """Train a student on the part of the transfer set that its method uses, from cached signals."""
    if "selected" in job.parents:
        job = replace(job, spec=with_choice(job.spec, job.parents["selected"]))
    return train_model(job, folder, *prepare(job))


def prepare(job: "Job") -> tuple[PreTrainedModel, Objective, Encoded]:
    """Build a student before its first step, its objective, and the examples that it learns from, with signals."""
    method = components.parse("methods", job.spec["method"])
    architecture = components.parse("students", job.spec["architecture"])
    splits, unlabeled = LEARNED_FROM[method.transfer], job.spec.get("unlabeled")
    train = load_encoded(job.parents["encoded"], splits, unlabeled=unlabeled)
    requests = method.requests(architecture.layers)
    if method.repeats_labelled:
        count = sum(sum(shards(job.parents["encoded"], split, unlabeled)) for split in TRANSFER)
        train = train.take(repeated(len(train), count, job.spec["seed"]))
    signals = {
        one.kind: read_signal(job.parents[f"signals/{one.kind}"], splits, one.kind, train.ids) for one in requests
    }
    if method.shuffles_logits:
        others = shuffled_within_classes(signals["logits"].values, job.spec["seed"])
        signals["logits"] = signals["logits"].take(others)
    train = with_signals(train, signals, requests, job.parents, splits, unlabeled)
    torch.manual_seed(job.spec["seed"])
    model = architecture.build(train.vocabulary, job.spec["classes"], job.spec["pooling"])
    if "start" in job.parents:
        load_start(model, job.parents["start"])
    if method.reuses_head:
        reuse_head(model, job.parents["teacher"])
    sizes = Sizes(
        student=pooled_widths(model, train),
        teacher={kind: signal.shape for kind, signal in signals.items()},
        examples=len(train),
    )
    objective = Objective(
        method.loss, method.parts(sizes), method.student_states, method.relates_examples, method.step_taken
    )
    return model, objective, train
