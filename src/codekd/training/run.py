"""What training a teacher and training a student have in common: fit, evaluate, save."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from codekd.analysis.metrics import scores
from codekd.data.batches import Encoded, load_encoded
from codekd.models.device import Device, choose_device
from codekd.models.inference import predict
from codekd.models.vocabulary import copy_tokenizer
from codekd.study.training import Training
from codekd.training.loop import Fit, Objective, fit, valid_scores
from codekd.training.processes import launch

if TYPE_CHECKING:
    from codekd.study.job import Job


def fit_model(job: "Job", model: PreTrainedModel, objective: Objective, train: Encoded) -> tuple[Fit, Device]:
    """Fit a model with a job's numbers; the best epoch is chosen on the validation split.

    A teacher that several GPUs are visible to is trained on all of them.
    """
    valid = load_encoded(job.parents["encoded"], ["valid"])

    def train_here() -> tuple[Fit, Device]:
        device = choose_device(model)
        fitted = fit(
            model,
            objective,
            train,
            lambda: scores(valid.labels, predict(model, valid, device).argmax(1), job.spec["classes"]),
            Training.model_validate(job.spec["training"]),
            seed=job.spec["seed"],
            metric=job.spec["metric"],
            device=device,
            scratch=job.scratch,
            name=job.name,
        )
        return fitted, device

    if job.stage == "teachers" and (gpus := torch.cuda.device_count()) > 1:
        launch(train_here, gpus)
    # What several processes have trained is in the checkpoint.
    return train_here()


def train_model(
    job: "Job", folder: Path, model: PreTrainedModel, objective: Objective, train: Encoded
) -> dict[str, Any]:
    """Fit a model and write it as a Hugging Face folder with its metrics, history and test predictions.

    The test split is looked at once, after the best epoch was chosen.
    """
    encoded = job.parents["encoded"]
    classes, metric = job.spec["classes"], job.spec["metric"]
    run, device = fit_model(job, model, objective, train)
    epochs = len(run.history)
    test = load_encoded(encoded, ["test"])
    evaluated: dict[str, dict[str, dict[str, float]]] = {}
    tested: dict[int, NDArray[np.float32]] = {}
    for name, epoch, weights in (("last_scores", epochs, run.last), ("scores", run.best_epoch, run.best)):
        model.load_state_dict(weights)
        if epoch not in tested:
            tested[epoch] = predict(model, test, device)
        logits = tested[epoch]
        evaluated[name] = {
            "valid": valid_scores(run.history[epoch - 1]),
            "test": scores(test.labels, logits.argmax(1), classes),
        }

    seconds = sum(row["seconds"] for row in run.history)
    seen = sum(row["examples"] for row in run.history)
    joules = [row["joules"] for row in run.history]
    metrics = {
        "metric": metric,
        "parameters": model.num_parameters(),
        "best_epoch": run.best_epoch,
        "epochs": epochs,
        "train_seconds": round(seconds, 3),
        "examples_per_second": round(seen / seconds, 1),
        "examples_seen": seen,
        "joules": None if None in joules else round(sum(joules), 1),
        **evaluated,
    }
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    pl.DataFrame(run.history, schema_overrides={"joules": pl.Float64}).write_parquet(folder / "history.parquet")
    write_predictions(folder, test, logits)
    model.cpu().save_pretrained(folder)
    copy_tokenizer(encoded, folder)
    return metrics | device.describe() | {"parts_of_a_batch": run.parts}


def write_predictions(folder: Path, test: Encoded, logits: NDArray[np.float32]) -> None:
    """Write ``predictions.parquet``: id, label, prediction and logits of the test examples."""
    pl.DataFrame(
        {"id": test.ids, "label": test.labels, "prediction": logits.argmax(1), "logits": logits.tolist()},
        schema={"id": pl.String, "label": pl.Int32, "prediction": pl.Int32, "logits": pl.List(pl.Float32)},
    ).write_parquet(folder / "predictions.parquet")
