"""What training a teacher and training a student have in common: fit, evaluate, save."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from transformers import PreTrainedModel

from codekd.analysis.metrics import scores
from codekd.data.batches import Encoded, load_encoded
from codekd.models.device import choose_device
from codekd.models.inference import predict
from codekd.models.vocabulary import TOKENIZER_FILES
from codekd.study.training import Training
from codekd.training.loop import Objective, fit

if TYPE_CHECKING:
    from codekd.study.job import Job


def train_model(
    job: "Job", folder: Path, model: PreTrainedModel, objective: Objective, train: Encoded
) -> dict[str, Any]:
    """Fit a model and write it as a Hugging Face folder with its metrics, history and test predictions.

    The best epoch is chosen on the validation split; the test split is looked at once, after that.
    """
    encoded = job.parents["encoded"]
    classes, metric = job.spec["classes"], job.spec["metric"]
    device = choose_device(model)
    valid = load_encoded(encoded, ["valid"])
    test = load_encoded(encoded, ["test"])
    settings = Training.model_validate(job.spec["training"])
    run = fit(
        model,
        objective,
        train,
        valid,
        settings,
        seed=job.spec["seed"],
        metric=metric,
        device=device,
        scratch=job.scratch,
        name=job.name,
    )
    evaluated: dict[str, dict[str, dict[str, float]]] = {}
    tested: dict[int, NDArray[np.float32]] = {}
    for name, epoch, weights in (("last_scores", settings.epochs, run.last), ("scores", run.best_epoch, run.best)):
        model.load_state_dict(weights)
        if epoch not in tested:
            tested[epoch] = predict(model, test, device)
        logits = tested[epoch]
        row = run.history[epoch - 1]
        evaluated[name] = {
            "valid": {key.removeprefix("valid_"): value for key, value in row.items() if key.startswith("valid_")},
            "test": scores(test.labels, logits.argmax(1), classes),
        }

    seconds = sum(row["seconds"] for row in run.history)
    seen = sum(row["examples"] for row in run.history)
    metrics = {
        "metric": metric,
        "parameters": model.num_parameters(),
        "best_epoch": run.best_epoch,
        "epochs": settings.epochs,
        "train_seconds": round(seconds, 3),
        "examples_per_second": round(seen / seconds, 1),
        "examples_seen": seen,
        **evaluated,
    }
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    pl.DataFrame(run.history).write_parquet(folder / "history.parquet")
    pl.DataFrame(
        {"id": test.ids, "label": test.labels, "prediction": logits.argmax(1), "logits": logits.tolist()},
        schema={"id": pl.String, "label": pl.Int32, "prediction": pl.Int32, "logits": pl.List(pl.Float32)},
    ).write_parquet(folder / "predictions.parquet")
    model.cpu().save_pretrained(folder)
    for name in TOKENIZER_FILES:
        shutil.copyfile(encoded / name, folder / name)
    return metrics | device.describe()
