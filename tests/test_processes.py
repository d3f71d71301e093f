"""A run that several processes share ends as one of a single process does."""

from pathlib import Path

import pytest
import torch
from accelerate import debug_launcher
from test_training import STUDENTS, TRAIN, VALID, VOCABULARY, cross_entropy

from codekd.analysis.metrics import scores
from codekd.models.device import Device
from codekd.models.inference import predict
from codekd.study.training import Training
from codekd.training import checkpoint, loop
from codekd.training.processes import Processes

SETTINGS = Training(epochs=2, learning_rate=5e-3, batch_size=15)
CPU = Device(torch.device("cpu"), torch.float32)


def fit(scratch: Path, processes: int = 1) -> None:
    """Train without dropout: processes draw at random each for itself."""
    assert Processes.current().count == processes
    torch.manual_seed(0)
    architecture = STUDENTS["roberta"].model_copy(update={"dropout": 0.0})
    model = architecture.build(VOCABULARY, 2, "first")
    loop.fit(
        model,
        loop.Objective(cross_entropy),
        TRAIN,
        lambda: scores(VALID.labels, predict(model, VALID, CPU).argmax(1), 2),
        SETTINGS,
        seed=1,
        metric="accuracy",
        device=CPU,
        scratch=scratch,
        name="test",
    )


@pytest.mark.parametrize("processes", [2, 3])
def test_the_parts_of_a_batch_are_divided_and_their_gradients_added(processes: int, tmp_path: Path) -> None:
    for name in ("alone", "together"):
        (tmp_path / name).mkdir()
    fit(tmp_path / "alone")
    debug_launcher(fit, (tmp_path / "together", processes), num_processes=processes)
    found = [checkpoint.load(tmp_path / name) for name in ("alone", "together")]
    (alone, history), (together, shared) = (pair for pair in found if pair is not None)
    assert [row["loss"] for row in shared] == pytest.approx([row["loss"] for row in history], rel=1e-4)
    for name, weight in alone["model"].items():
        torch.testing.assert_close(together["model"][name], weight, rtol=1e-3, atol=1e-4)
