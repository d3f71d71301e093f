"""Stage ``students``: one cell of the grid, a student trained from scratch with a method."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from codekd.data.batches import load_encoded, load_units
from codekd.data.rows import Ragged
from codekd.methods.base import Sizes
from codekd.models.inference import pooled_widths
from codekd.signals.format import read_signal
from codekd.study import components
from codekd.training.loop import Objective
from codekd.training.run import train_model

if TYPE_CHECKING:
    from codekd.study.job import Job

TRANSFER = {"labelled": ("train",), "all": ("train", "unlabeled")}


def run(job: "Job", folder: Path) -> dict[str, Any]:
    """Train a student on the part of the transfer set that its method uses, from cached signals."""
    method = components.parse("methods", job.spec["method"])
    architecture = components.parse("students", job.spec["architecture"])
    splits = TRANSFER[method.transfer]
    train = load_encoded(job.parents["encoded"], splits)
    signals = {kind: read_signal(job.parents[f"signals/{kind}"], splits, kind, train.ids) for kind in method.signals}
    train = replace(train, signals=signals)
    for signal in signals.values():
        if isinstance(signal, Ragged):
            units = load_units(train, job.parents["encoded"], splits, job.parents.get("syntax"))
            train = replace(train, units=units.within(signal.first.ravel(), signal.count.ravel()))
    torch.manual_seed(job.spec["seed"])
    model = architecture.build(train.vocabulary, job.spec["classes"], job.spec["pooling"])
    sizes = Sizes(
        student=pooled_widths(model, train),
        teacher={kind: signal.shape for kind, signal in signals.items()},
        examples=len(train),
    )
    objective = Objective(method.loss, method.parts(sizes), method.student_states)
    return train_model(job, folder, model, objective, train)
