"""A run that several processes share ends as one of a single process does."""

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import accelerate
import numpy as np
import pytest
import torch
from accelerate import debug_launcher
from test_training import STUDENTS, TRAIN, VALID, VOCABULARY, cross_entropy

from codekd.analysis.metrics import scores
from codekd.data.batches import Batch
from codekd.models.device import Device
from codekd.models.head import ClassifierOutput
from codekd.models.inference import predict
from codekd.study.job import Job
from codekd.study.training import Training
from codekd.training import checkpoint, loop, run, step
from codekd.training.processes import Processes

# Not all have a label, and not equally many in each part.
SOME = replace(TRAIN, labels=np.where(np.arange(len(TRAIN)) % 5 < 2, TRAIN.labels, -1))
SETTINGS = Training(epochs=2, learning_rate=5e-3, batch_size=15)
CPU = Device(torch.device("cpu"), torch.float32)


def fit(scratch: Path, processes: int = 1, failing: int | None = None) -> None:
    """Train without dropout: processes draw at random each for itself. One of them runs out of memory once."""
    assert Processes.current().count == processes
    torch.manual_seed(0)
    architecture = STUDENTS["roberta"].model_copy(update={"dropout": 0.0})
    model = architecture.build(VOCABULARY, 2, "first")
    calls = count()

    def loss(output: ClassifierOutput, batch: Batch, parts: torch.nn.Module) -> torch.Tensor:
        if next(calls) == 3 and Processes.current().index == failing:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return cross_entropy(output, batch, parts)

    loop.fit(
        model,
        step.Objective(loss),
        SOME,
        lambda: scores(VALID.labels, predict(model, VALID, CPU).argmax(1), 2),
        SETTINGS,
        seed=1,
        metric="accuracy",
        device=CPU,
        scratch=scratch,
        name="test",
    )


@pytest.mark.parametrize(("processes", "failing"), [(2, None), (3, None), (2, 1)])
def test_the_parts_of_a_batch_are_divided_and_their_gradients_added(
    processes: int, failing: int | None, tmp_path: Path
) -> None:
    for name in ("alone", "together"):
        (tmp_path / name).mkdir()
    fit(tmp_path / "alone")
    debug_launcher(fit, (tmp_path / "together", processes, failing), num_processes=processes)
    found = [checkpoint.load(tmp_path / name) for name in ("alone", "together")]
    (alone, history), (together, shared) = (pair for pair in found if pair is not None)
    assert [row["loss"] for row in shared] == pytest.approx([row["loss"] for row in history], rel=1e-4)
    assert [row["parts"] for row in shared] == 2 * [processes if failing is None else 2 * processes]
    for name, weight in alone["model"].items():
        torch.testing.assert_close(together["model"][name], weight, rtol=1e-3, atol=1e-4)


def test_a_process_chooses_its_device_when_it_has_its_own_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    current, chosen = [0], []

    def of_two_processes(function: Callable[[], object], **_: Any) -> None:
        monkeypatch.setenv("WORLD_SIZE", "2")
        function()
        monkeypatch.setenv("WORLD_SIZE", "1")

    def state(**_: Any) -> Any:
        # As accelerate does for the second process.
        current[0] = 1
        return SimpleNamespace(process_index=1, num_processes=2)

    for name, value in {
        "is_available": lambda: True,
        "device_count": lambda: 2,
        "current_device": lambda: current[0],
        "is_bf16_supported": lambda including_emulation: True,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(accelerate, "notebook_launcher", of_two_processes)
    monkeypatch.setattr(accelerate, "PartialState", state)
    monkeypatch.setattr(run, "load_encoded", lambda *_: VALID)
    monkeypatch.setattr(run, "fit", lambda *_, device, **__: chosen.append(device.device))
    spec = {"training": {}, "seed": 1, "metric": "accuracy", "classes": 2}
    job = Job("teachers", ("t", "t"), spec, {"encoded": tmp_path}, tmp_path)
    run.fit_model(job, STUDENTS["roberta"].build(VOCABULARY, 2, "first"), step.Objective(cross_entropy), TRAIN)
    assert chosen[0] == torch.device("cuda", 1)
