import math
import subprocess
import sys
from importlib.resources import files
from statistics import fmean
from types import SimpleNamespace

import pytest
import torch
import yaml
from pydantic import ValidationError
from torch import Tensor
from torch.nn import Module

from codekd.errors import CodekdError
from codekd.methods import dist, ft, kd, pseudo
from codekd.methods.base import Method, hard_label_loss
from codekd.models.head import ClassifierOutput
from codekd.study import components

PRESETS = yaml.safe_load((files("codekd") / "presets" / "methods.yaml").read_text())
Rows = list[list[float]]


def logits(seed: int, examples: int = 6, classes: int = 4, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(examples, classes, dtype=dtype, generator=generator)


STUDENT, TEACHER = logits(0), logits(1)
LABELS = torch.tensor([0, -1, 3, 2, -1, 0])


def loss(method: Method, student: Tensor = STUDENT, teacher: Tensor = TEACHER, labels: Tensor = LABELS) -> Tensor:
    signals = {"logits": teacher} if method.signals else {}
    batch = SimpleNamespace(labels=labels, teacher=signals)
    return method.loss(ClassifierOutput(logits=student), batch, Module())


# The formulas, written with loops


def softmax(row: list[float], temperature: float = 1.0) -> list[float]:
    exponentials = [math.exp(value / temperature) for value in row]
    return [value / sum(exponentials) for value in exponentials]


def cross_entropy(student: Rows, labels: list[int]) -> float:
    return fmean(-math.log(softmax(row)[label]) for row, label in zip(student, labels, strict=True) if label >= 0)


def kl(student: Rows, teacher: Rows, temperature: float) -> float:
    return fmean(
        sum(t * math.log(t / s) for s, t in zip(softmax(row, temperature), softmax(other, temperature), strict=True))
        for row, other in zip(student, teacher, strict=True)
    )


def correlation(first: list[float], second: list[float]) -> float:
    centre, other = fmean(first), fmean(second)
    covariance = sum((x - centre) * (y - other) for x, y in zip(first, second, strict=True))
    return covariance / math.sqrt(sum((x - centre) ** 2 for x in first) * sum((y - other) ** 2 for y in second))


def between_classes(student: Rows, teacher: Rows) -> float:
    return 1 - fmean(correlation(row, other) for row, other in zip(student, teacher, strict=True))


def naive_ft() -> float:
    return cross_entropy(STUDENT.tolist(), LABELS.tolist())


def naive_pseudo() -> float:
    return cross_entropy(STUDENT.tolist(), [row.index(max(row)) for row in TEACHER.tolist()])


def naive_kd(temperature: float, alpha: float, scale: float) -> float:
    soft = kl(STUDENT.tolist(), TEACHER.tolist(), temperature)
    return alpha * scale * soft + (1 - alpha) * naive_ft()


def naive_dist(temperature: float, label_weight: float, beta: float, gamma: float) -> float:
    student = [softmax(row, temperature) for row in STUDENT.tolist()]
    teacher = [softmax(row, temperature) for row in TEACHER.tolist()]
    columns = [list(map(list, zip(*rows, strict=True))) for rows in (student, teacher)]
    across_batch = between_classes(*columns)
    return label_weight * naive_ft() + beta * between_classes(student, teacher) + gamma * across_batch


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (ft.Config(), naive_ft()),
        (pseudo.Config(), naive_pseudo()),
        (kd.Config(temperature=5.0, alpha=0.7), naive_kd(5.0, 0.7, scale=25.0)),
        (components.parse("methods", PRESETS["kd-paper"]), naive_kd(10.0, 1.0, scale=1.0)),
        (
            dist.Config(temperature=2.0, label_weight=0.5, beta=3.0, gamma=2.0),
            naive_dist(2.0, 0.5, beta=3.0, gamma=2.0),
        ),
        (components.parse("methods", PRESETS["dist-paper"]), naive_dist(10.0, 0.0, beta=1.0, gamma=1.0)),
    ],
    ids=["ft", "pseudo", "kd", "kd-paper", "dist", "dist-paper"],
)
def test_loss_is_that_of_the_formula(method: Method, expected: float) -> None:
    assert loss(method).item() == pytest.approx(expected, rel=1e-12)


# Every method, as its preset


@pytest.mark.parametrize("name", PRESETS)
def test_gradients(name: str) -> None:
    method = components.parse("methods", PRESETS[name])
    assert torch.autograd.gradcheck(lambda student: loss(method, student), STUDENT.clone().requires_grad_())


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize(
    ("student", "teacher"),
    [
        (torch.zeros(4, 3), logits(1, 4, 3)),
        (logits(0, 4, 3), torch.zeros(4, 3)),
        (logits(0, 1, 3), logits(1, 1, 3)),
        (torch.tensor([[200.0, -200.0, 0.0]] * 4), torch.tensor([[-200.0, 200.0, 0.0]] * 4)),
    ],
    ids=["constant student", "constant teacher", "one example", "saturated and alike"],
)
def test_loss_and_gradient_are_finite(name: str, student: Tensor, teacher: Tensor) -> None:
    method = components.parse("methods", PRESETS[name])
    student = student.float().requires_grad_()
    for labels in (torch.zeros(len(student)).long(), torch.full((len(student),), -1)):
        value = loss(method, student, teacher.float(), labels)
        (gradient,) = torch.autograd.grad(value, student)
        assert value.isfinite()
        assert gradient.isfinite().all()


@pytest.mark.parametrize("name", PRESETS)
def test_loss_is_float32_under_autocast(name: str) -> None:
    method = components.parse("methods", PRESETS[name])
    student, teacher = STUDENT.bfloat16(), TEACHER.float()
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(method, student, teacher)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(loss(method, student.double(), teacher.double()).item(), rel=1e-5)


@pytest.mark.parametrize("name", PRESETS)
def test_methods_import_nothing_heavy(name: str) -> None:
    module = f"codekd.methods.{PRESETS[name]['kind']}"
    code = f"import sys, {module}; print({{'torch', 'numpy', 'transformers'}} & {{*sys.modules}})"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


# Labels


def test_examples_without_a_label_add_nothing_to_the_hard_loss() -> None:
    student = STUDENT.clone().requires_grad_()
    value = hard_label_loss(student, LABELS)
    (gradient,) = torch.autograd.grad(value, student)
    assert value.item() == pytest.approx(hard_label_loss(STUDENT[LABELS >= 0], LABELS[LABELS >= 0]).item())
    assert (gradient[LABELS == -1] == 0).all()
    assert (gradient[LABELS >= 0] != 0).all()


def test_batch_without_labels_has_no_hard_loss() -> None:
    student = STUDENT.clone().requires_grad_()
    value = hard_label_loss(student, torch.full_like(LABELS, -1))
    (gradient,) = torch.autograd.grad(value, student)
    assert value == 0
    assert (gradient == 0).all()


def test_pseudo_labels_come_before_given_ones() -> None:
    assert loss(pseudo.Config(), labels=LABELS) == loss(pseudo.Config(), labels=torch.full_like(LABELS, -1))


def test_fine_tuning_refuses_unlabelled_examples() -> None:
    assert ft.Config().transfer == "labelled"
    with pytest.raises(ValidationError, match="labelled"):
        ft.Config(transfer="all")


# What each method promises


def test_kd_without_the_squared_temperature_is_soft_cross_entropy() -> None:
    method = components.parse("methods", PRESETS["kd-paper"])
    student = STUDENT.clone().requires_grad_()
    soft_cross_entropy = torch.nn.functional.cross_entropy(student / 10, (TEACHER / 10).softmax(-1))
    (expected,) = torch.autograd.grad(soft_cross_entropy, student)
    (gradient,) = torch.autograd.grad(loss(method, student), student)
    torch.testing.assert_close(gradient, expected)


def test_dist_on_two_classes_drops_the_relation_between_classes() -> None:
    assert dist.Config().for_classes(3) == dist.Config()
    assert dist.Config().for_classes(2) == dist.Config(beta=0.0)
    student = logits(0, classes=2).requires_grad_()
    void, _ = dist.dist_losses(student, logits(1, classes=2), temperature=4.0)
    (gradient,) = torch.autograd.grad(void, student)
    assert gradient.abs().max() < 1e-12
    with pytest.raises(CodekdError, match="give gamma a weight"):
        dist.Config(gamma=0.0).for_classes(2)


def test_dist_of_one_example_has_no_relation_across_the_batch() -> None:
    _, across_batch = dist.dist_losses(STUDENT[:1], TEACHER[:1], temperature=4.0)
    assert across_batch == 0


def test_dist_without_either_relation_is_refused() -> None:
    with pytest.raises(ValidationError, match="use kind ft"):
        dist.Config(beta=0.0, gamma=0.0)
