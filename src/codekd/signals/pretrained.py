"""Signals of a pretrained encoder, before any task: states, and no logits that mean something."""

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
    """Pretrained or adapted encoder, with the folders that it reads, on a device in float32."""

    @classmethod
    def load(cls, jobs: "Sequence[Job]") -> "Teacher":
        """Load the one encoder of some jobs; parents are ``pretrained``, ``encoded`` and, for lexemes, ``syntax``."""
        job = max(jobs, key=lambda job: "syntax" in job.parents)
        model, device = load_encoder(job.parents["pretrained"])
        return cls(model, device, device, job.parents["encoded"], job.parents.get("syntax"))


def load_encoder(folder: Path) -> tuple[EncoderForSequenceClassification, Device]:
    """Load a pretrained encoder in eval mode and float32, with a head that nobody reads, and choose its device."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = EncoderForSequenceClassification.from_encoder(folder, 1, "mean", read_vocabulary(folder))
    device = replace(choose_device(model), dtype=torch.float32)
    return model.to(device.device).eval(), device
