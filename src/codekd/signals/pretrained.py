"""Signals of a pretrained encoder, before any task: it has states, and no logits that mean something."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from codekd.models.device import Device, choose_device
from codekd.models.encoder import EncoderForSequenceClassification
from codekd.models.vocabulary import read_vocabulary
from codekd.signals import finetuned

if TYPE_CHECKING:
    from codekd.study.job import Job


class Teacher(finetuned.Teacher):
    """A pretrained or adapted encoder, what it reads, and where it runs; in float32."""

    @classmethod
    def load(cls, jobs: "Sequence[Job]") -> "Teacher":
        """The one encoder of some jobs; parents are ``pretrained``, ``encoded`` and, for lexemes, ``syntax``."""
        job = max(jobs, key=lambda job: "syntax" in job.parents)
        model, device = load_encoder(job.parents["pretrained"])
        return cls(model, device, device, job.parents["encoded"], job.parents.get("syntax"))


def load_encoder(folder: Path) -> tuple[EncoderForSequenceClassification, Device]:
    """A pretrained encoder with a head that nobody reads, in eval mode, and where it runs, in float32."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = EncoderForSequenceClassification.from_encoder(folder, 1, "mean", read_vocabulary(folder))
    device = replace(choose_device(model), dtype=torch.float32)
    return model.to(device.device).eval(), device
