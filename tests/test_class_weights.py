"""Weights of classes: planned by name or balanced, in the hard loss of teachers and students."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from data_stages import job_of
from sklearn.utils.class_weight import compute_class_weight
from test_checkpoints import encoded, modernbert, pretrained
from test_methods import LABELS, STUDENT, TEACHER, batch_of, naive_kd
from torch import Tensor

from codekd.errors import CodekdError
from codekd.methods import ft, kd, pseudo
from codekd.methods.base import hard_label_loss
from codekd.models.head import ClassifierOutput
from codekd.study.defaults import with_defaults
from codekd.study.graph import Graph
from codekd.study.resolve import load_study
from codekd.study.training import Training
from codekd.training import run, teacher

CONFIG = Path(__file__).parents[1] / "config" / "config.yaml"
WEIGHTS = [0.5, 1.0, 3.0, 8.0]


def naive(logits: Tensor, labels: Sequence[int], weights: Sequence[float]) -> float:
    """The weighted mean of the cross-entropies of those that have a label."""
    losses = [
        (weights[label], -np.log(np.exp(row[label]) / np.exp(row).sum()))
        for row, label in zip(logits.double().numpy(), labels, strict=True)
        if label >= 0
    ]
    return sum(weight * loss for weight, loss in losses) / sum(weight for weight, _ in losses)


def test_the_hard_loss_of_a_student_is_a_weighted_mean() -> None:
    outputs = ClassifierOutput(logits=STUDENT)
    batch = batch_of(LABELS, {"logits": TEACHER}, class_weights=torch.tensor(WEIGHTS))
    none = torch.nn.Module()
    hard = naive(STUDENT, LABELS.tolist(), WEIGHTS)
    assert ft.Config().loss(outputs, batch, none).item() == pytest.approx(hard, rel=1e-9)
    soft = naive_kd(4.0, 1.0, scale=16.0)
    expected = 0.7 * soft + 0.3 * hard
    assert kd.Config(alpha=0.7).loss(outputs, batch, none).item() == pytest.approx(expected, rel=1e-9)
    predicted = naive(STUDENT, TEACHER.argmax(1).tolist(), WEIGHTS)
    assert pseudo.Config().loss(outputs, batch, none).item() == pytest.approx(predicted, rel=1e-9)
    other = torch.nn.functional.cross_entropy(STUDENT, LABELS, torch.tensor(WEIGHTS).double(), ignore_index=-1)
    assert hard_label_loss(STUDENT, batch).item() == pytest.approx(other.item(), rel=1e-9)


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    labels = np.array([0, 0, 0, 0, 2, 1, 1, -1, -1, 2])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels[labels >= 0])
    assert run.class_weights("balanced", labels, ["a", "b", "c"]) == pytest.approx(expected)
    assert np.isfinite(run.class_weights("balanced", labels, ["a", "b", "c", "never"])).all()
    assert run.class_weights({"b": 2.0, "a": 3.0}, labels, ["a", "b"]).tolist() == [3.0, 2.0]


def test_a_teacher_and_its_numbers_reach_the_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modernbert(tmp_path / "modernbert")
    parents = {"pretrained": pretrained(tmp_path / "modernbert", tmp_path / "pretrained")}
    parents["encoded"] = encoded(parents["pretrained"], tmp_path / "encoded", [])
    training = Training(class_weights={"yes": 5.0, "no": 0.5}).model_dump()
    spec = {"training": training, "seed": 1, "classes": 2, "class_names": ["no", "yes"], "pooling": "mean"}
    seen: list[Any] = []

    def caught(model: Any, objective: Any, train: Any, *_: Any, **__: Any) -> None:
        seen.extend([objective, train])
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "fit", caught)
    with pytest.raises(KeyboardInterrupt):
        teacher.run(job_of("teachers", tmp_path / "out", spec | {"dropout": None, "metric": "f1"}, parents), tmp_path)
    objective, train = seen
    logits = torch.randn(len(train), 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    batch = train.batch(np.arange(len(train)), torch.device("cpu"))
    loss = objective.loss(ClassifierOutput(logits=logits), batch, objective.parts)
    assert loss.item() == pytest.approx(naive(logits, train.labels.tolist(), [0.5, 5.0]), rel=1e-9)


def graph(**sections: Any) -> Graph:
    config = copy.deepcopy(yaml.safe_load(CONFIG.read_text())) | sections
    config["grid"] |= {"tasks": ["defect", "clone"], "methods": ["ft"]}
    return Graph(load_study(config, [CONFIG]))


def test_weights_are_planned_for_the_tasks_that_have_the_classes() -> None:
    [defect, clone] = (study.classes for study in tasks().values())
    by_name = dict.fromkeys([*defect, *clone], 2.0)
    study = graph(training={"class_weights": by_name}, search={"training": {"class_weights": [None, "balanced"]}})
    found = {node.coordinates[0]: node.spec for node in study.stage("trials")}
    assert found["clone"]["class_names"] == list(clone)
    weights = {str(with_defaults(node.spec)["training"]["class_weights"]) for node in study.stage("trials")}
    assert weights == {"None", "balanced"}
    [node, *_] = graph(training={"class_weights": by_name}).stage("students")
    assert node.spec["training"]["class_weights"] == by_name


def tasks() -> dict[str, Any]:
    study = load_study(yaml.safe_load(CONFIG.read_text()), [CONFIG])
    return {name: study.tasks[name] for name in ("defect", "clone")}


@pytest.mark.parametrize(
    "sections",
    [
        lambda weights: {"training": {"class_weights": weights}},
        lambda weights: {"teachers": {"minilm": {"training": {"class_weights": weights}}}},
        lambda weights: {"search": {"training": {"class_weights": ["balanced", weights]}}},
    ],
)
def test_a_class_that_is_misspelt_or_forgotten_is_named_with_what_to_write(sections: Any) -> None:
    first, second = tasks()["defect"].classes
    with pytest.raises(CodekdError) as error:
        graph(**sections({first: 1.0}))
    assert len(str(error.value).splitlines()) == 1, "said once, not for every student"
    with pytest.raises(CodekdError, match=f"class_weights.*: there is no '{second}s'; did you mean '{second}'?"):
        graph(**sections({first: 1.0, second: 2.0, f"{second}s": 2.0}))
    line = rf"class_weights: \{{{first}: 1.0, {second}: 4.0\}}"
    with pytest.raises(CodekdError, match=f"{first}, a class of defect, has no weight; write `{line}`"):
        graph(**sections({second: 4.0}))


def test_weights_before_a_task_are_refused() -> None:
    adaptation = {"training": {"class_weights": "balanced"}}
    with pytest.raises(CodekdError, match="`class_weights` must be left out: there are no classes before a task"):
        graph(teachers={"minilm": {"adaptation": adaptation}})
