"""Stage ``teachers``: a pretrained encoder fine-tuned on a task."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from codekd.data.batches import load_encoded
from codekd.methods.base import hard_label_loss
from codekd.models.encoder import EncoderForSequenceClassification
from codekd.training.run import train_model
from codekd.training.step import Objective

if TYPE_CHECKING:
    from codekd.study.job import Job


def run(job: "Job", folder: Path) -> dict[str, Any]:
    """Fine-tune on the labelled train split with cross-entropy."""
    train = load_encoded(job.parents["encoded"], ["train"])
    torch.manual_seed(job.spec["seed"])
    model = EncoderForSequenceClassification.from_encoder(
        job.parents["pretrained"], job.spec["classes"], job.spec["pooling"], train.vocabulary, job.spec["dropout"]
    )
    objective = Objective(lambda outputs, batch, _: hard_label_loss(outputs.logits, batch))
    return train_model(job, folder, model, objective, train)
