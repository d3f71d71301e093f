"""Common part of training a teacher and training a student: fit, evaluate, save."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from codekd.analysis.metrics import scores
from codekd.data.batches import Encoded, load_encoded
from codekd.data.labels import UNLABELLED
from codekd.errors import CodekdError, NotFiniteError
from codekd.models.device import Device, choose_device
from codekd.models.inference import predict
from codekd.models.vocabulary import copy_tokenizer
from codekd.study.training import Training
from codekd.training.loop import Fit, fit, valid_scores
from codekd.training.processes import launch
from codekd.training.step import Objective

if TYPE_CHECKING:
    from codekd.study.job import Job


def fit_model(job: "Job", model: PreTrainedModel, objective: Objective, train: Encoded) -> tuple[Fit, Device]:
    """Fit a model with a job's numbers; the best epoch is chosen on the validation split.

    A teacher that several GPUs are visible to is trained on all of them.
    """
    valid = load_encoded(job.parents["encoded"], ["valid"])
    settings = Training.model_validate(job.spec["training"])
    if settings.class_weights:
        weights = class_weights(settings.class_weights, train.labels, job.spec["class_names"])
        train = replace(train, class_weights=weights)

    def train_here() -> tuple[Fit, Device]:
        device = choose_device(model)
        fitted = fit(
            model,
            objective,
            train,
            lambda: scores(valid.labels, predict(model, valid, device).argmax(1), job.spec["classes"]),
            settings,
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


def class_weights(
    weights: Mapping[str, float] | Literal["balanced"], labels: NDArray[np.int64], classes: Sequence[str]
) -> NDArray[np.float32]:
    """Weights of the classes, ``(classes,)`` in their order; one for a class that is not named.

    Balanced ones are ``n / (classes count)`` with the numbers of labelled examples, in all and of the class, as
    scikit-learn has them; that of a class without examples is what it would be with one.

    Args:
        weights: weight of a class by name, or ``balanced``.
        labels: ``(examples,)``, -1 for an unknown one.
        classes: names of the classes.
    """
    if weights != "balanced":
        return np.array([weights.get(name, 1.0) for name in classes], dtype=np.float32)
    counts = np.bincount(labels[labels != UNLABELLED], minlength=len(classes))
    return (counts.sum() / (len(classes) * np.maximum(counts, 1))).astype(np.float32)


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
            try:
                tested[epoch] = predict(model, test, device)
            except NotFiniteError as error:
                raise CodekdError(
                    f"{job.name}: on the test split {error}, after epoch {epoch}. Lower the learning rate."
                ) from None
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
        "train_cpu_seconds": round(sum(row["cpu_seconds"] for row in run.history), 3),
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
    return metrics | device.describe() | run.describe_parts(objective)


def write_predictions(folder: Path, test: Encoded, logits: NDArray[np.float32]) -> None:
    """Write ``predictions.parquet``: id, label, prediction and logits of the test examples."""
    pl.DataFrame(
        {"id": test.ids, "label": test.labels, "prediction": logits.argmax(1), "logits": logits.tolist()},
        schema={"id": pl.String, "label": pl.Int32, "prediction": pl.Int32, "logits": pl.List(pl.Float32)},
    ).write_parquet(folder / "predictions.parquet")
