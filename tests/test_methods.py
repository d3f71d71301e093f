import math
import subprocess
import sys
from dataclasses import replace
from importlib.resources import files
from statistics import fmean
from types import SimpleNamespace
from typing import Any

import naive_losses
import numpy as np
import pytest
import torch
import yaml
from pydantic import ValidationError
from torch import Tensor
from torch.nn import Module

from codekd.data.batches import Batch
from codekd.data.units import UnitBatch
from codekd.errors import CodekdError
from codekd.methods import (
    ast,
    ckd,
    contrast,
    crd,
    dist,
    dkd,
    fitnets,
    ft,
    kd,
    longer,
    lskd,
    mgskd,
    pkd,
    pkt,
    pseudo,
    rkd,
    shuffled,
    simkd,
    smooth,
    sp,
)
from codekd.methods.base import Method, Sizes, hard_label_loss
from codekd.models.head import ClassifierOutput
from codekd.study import components

PRESETS = yaml.safe_load((files("codekd") / "presets" / "methods.yaml").read_text())
FITTING = {"mgskd": {"heads": 2}}
Rows = list[list[float]]


def preset(name: str) -> Method:
    """A preset, with what fits the narrow states of these tests."""
    return components.parse("methods", PRESETS[name] | FITTING.get(name, {}))


def logits(seed: int, examples: int = 6, classes: int = 4, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(examples, classes, dtype=dtype, generator=generator)


STUDENT, TEACHER = logits(0), logits(1)
LABELS = torch.tensor([0, -1, 3, 2, -1, 0])
STUDENT_WIDTHS, TEACHER_WIDTHS = (5, 6, 6), (8,) * 5
# Units of nine tokens: the first two make one, the others are one each, the last is in none.
# Some units are missing, and two are the same.
WEIGHTS = torch.eye(9)[1:8].repeat(6, 1, 1)
WEIGHTS[:, 0, :2] = 0.5
WEIGHTS[1, 5:] = 0
WEIGHTS[2, 3] = 0
WEIGHTS[3, 2] = WEIGHTS[3, 1]
PARENT = torch.tensor([-1, 0, 1, 1, 0, 4, 4])
SIBLING = torch.tensor([-1, 4, 3, -1, -1, 6, -1])


def inputs(
    method: Method, student: Tensor = STUDENT, teacher: Tensor = TEACHER, labels: Tensor = LABELS
) -> tuple[ClassifierOutput, Any]:
    """A student's outputs and a batch."""
    units = units_of(len(student))
    signals = {"logits": teacher, "pooled": torch.stack(states_of(teacher, TEACHER_WIDTHS), dim=1)}
    hidden = ClassifierOutput(logits=teacher, hidden_states=tokens_of(teacher, TEACHER_WIDTHS))
    for request in method.requests(2):
        if request.unit:
            signals[request.kind] = request.extract(hidden, SimpleNamespace(units=units))
    teaching = {name: signals[name] for name in method.signals}
    outputs = ClassifierOutput(
        logits=student,
        pooled=states_of(student, STUDENT_WIDTHS),
        hidden_states=tokens_of(student, STUDENT_WIDTHS),
        features=states_of(student, TEACHER_WIDTHS)[-1],
    )
    return outputs, batch_of(labels, teaching, units)


def batch_of(labels: Tensor, teacher: dict[str, Tensor], units: UnitBatch | None = None, **more: Any) -> Batch:
    """A batch of examples of which no loss reads the tokens."""
    tokens = torch.zeros(len(labels), 1)
    return Batch(torch.arange(len(labels)), tokens, tokens, tokens, labels, teacher, units, tokens, **more)


def units_of(examples: int) -> UnitBatch:
    """Units, which are nodes of a tree as well."""
    weights = WEIGHTS[:examples]
    parent, sibling = (link.repeat(examples, 1) for link in (PARENT, SIBLING))
    flat = weights.flatten(0, 1)
    unit, token = flat.nonzero().unbind(1)
    parts = flat.count_nonzero(1)
    tokens = unit // weights.shape[1] * weights.shape[2] + token
    return UnitBatch(weights.sum(-1) > 0, tokens, flat[unit, token], parts.cumsum(0) - parts, parent, sibling)


def tokens_of(values: Tensor, widths: tuple[int, ...]) -> tuple[Tensor, ...]:
    """Made-up states ``(batch, 9, width)`` of nine tokens."""
    generator = torch.Generator().manual_seed(8)
    noise = [torch.randn(len(values), 9, width, dtype=torch.float64, generator=generator) for width in widths]
    pooled = states_of(values, widths)
    return tuple((one.to(values.dtype) * states[:, None]) for one, states in zip(noise, pooled, strict=True))


def loss(method: Method, student: Tensor = STUDENT, teacher: Tensor = TEACHER, labels: Tensor = LABELS) -> Tensor:
    return method.loss(*inputs(method, student, teacher, labels), parts_of(method).to(student.dtype))


def states_of(values: Tensor, widths: tuple[int, ...]) -> tuple[Tensor, ...]:
    """Made-up pooled states that depend on the logits, one tensor a layer."""
    generator = torch.Generator().manual_seed(5)
    maps = (torch.randn(values.shape[1], width, dtype=torch.float64, generator=generator) for width in widths)
    return tuple(values @ one.to(values.dtype) for one in maps)


def parts_of(method: Method) -> Module:
    torch.manual_seed(6)
    shapes = {"logits": (4,), "pooled": (len(TEACHER_WIDTHS), TEACHER_WIDTHS[0]), "relations": (62,), "structure": (8,)}
    parts = method.parts(Sizes(STUDENT_WIDTHS, {name: shapes[name] for name in method.signals}, examples=6)).double()
    if isinstance(method, crd.Config):
        parts.constants.fill_(0.5)  # as after the first batch
    return parts


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


def naive_smooth(smoothing: float, weights: list[float]) -> float:
    """Cross-entropy with smoothed labels, each class's term weighted by its weight; unlabelled examples left out."""
    total = weight = 0.0
    for row, label in zip(STUDENT.tolist(), LABELS.tolist(), strict=True):
        if label < 0:
            continue
        p = softmax(row)
        for k in range(len(row)):
            target = (1 - smoothing) * (k == label) + smoothing / len(row)
            total -= weights[k] * target * math.log(p[k])
        weight += weights[label]
    return total / weight


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


S, T = STUDENT.numpy(), TEACHER.numpy()
S_STATES, T_STATES = [
    [states.numpy() for states in states_of(values, widths)]
    for values, widths in ((STUDENT, STUDENT_WIDTHS), (TEACHER, TEACHER_WIDTHS))
]
TARGETS = [label if label >= 0 else int(row.argmax()) for label, row in zip(LABELS.tolist(), T, strict=True)]


def naive_dkd(temperature: float, alpha: float, beta: float) -> float:
    target, others = naive_losses.dkd(S, T, TARGETS, temperature)
    return naive_ft() + temperature**2 * (alpha * target + beta * others)


def naive_pkd(method: pkd.Config) -> float:
    maps = [part.weight.detach().numpy() for part in parts_of(method)]
    states = naive_losses.pkd(S_STATES, T_STATES, [2], maps, method.mapped)
    return naive_kd(method.temperature, method.alpha, method.temperature**2) + method.beta * states


def naive_fitnets(method: fitnets.Config) -> float:
    part = parts_of(method)
    hint = naive_losses.fitnets(S_STATES[1], T_STATES[2], part.weight.detach().numpy(), part.bias.detach().numpy())
    return naive_kd(method.temperature, method.alpha, method.temperature**2) + method.beta * hint


def naive_mgskd(method: mgskd.Config) -> float:
    part = parts_of(method)
    matrix, bias = part.weight.detach().numpy(), part.bias.detach().numpy()
    layers = [(S_STATES[1] @ matrix.T + bias, T_STATES[2]), (S_STATES[2] @ matrix.T + bias, T_STATES[4])]
    angles, pairs = np.sum([naive_losses.mgskd(*pair, method.heads) for pair in layers], axis=0)
    soft = naive_kd(method.temperature, method.alpha, method.temperature**2)
    return soft + method.angle_weight * angles + method.pair_weight * pairs


def naive_crd(method: crd.Config) -> float:
    part = parts_of(method)
    drawn = part.draw(torch.device("cpu")).tolist()
    assert set(drawn) & set(range(6)), "an example is drawn as a negative of itself"
    chosen = [[row, *(other for other in drawn if other != row)] for row in range(6)]
    maps = [(to.weight.detach().numpy(), to.bias.detach().numpy()) for to in part.maps]
    constants = [6 * math.exp(0.5)] * 2
    contrast = naive_losses.crd(S_STATES[-1], T_STATES[-1], part.banks.numpy(), constants, chosen, 4, maps, 0.3)
    return 0.5 * naive_ft() + method.beta * contrast


def naive_rkd(distance: float, angle: float) -> float:
    last = S_STATES[-1], T_STATES[-1]
    return naive_ft() + distance * naive_losses.rkd_distance(*last) + angle * naive_losses.rkd_angle(*last)


MGSKD = mgskd.Config(heads=4, angle_weight=2.0, pair_weight=3.0)
CRD = crd.Config(label_weight=0.5, beta=0.7, temperature=0.3, dimension=3, negatives=4)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (ft.Config(), naive_ft()),
        (longer.Config(), naive_ft()),
        (smooth.Config(), naive_smooth(0.1, [1.0] * 4)),
        (smooth.Config(smoothing=0.4), naive_smooth(0.4, [1.0] * 4)),
        (pseudo.Config(), naive_pseudo()),
        (kd.Config(temperature=5.0, alpha=0.7), naive_kd(5.0, 0.7, scale=25.0)),
        (shuffled.Config(temperature=5.0, alpha=0.7), naive_kd(5.0, 0.7, scale=25.0)),
        (preset("kd-paper"), naive_kd(10.0, 1.0, scale=1.0)),
        (
            dist.Config(temperature=2.0, label_weight=0.5, beta=3.0, gamma=2.0),
            naive_dist(2.0, 0.5, beta=3.0, gamma=2.0),
        ),
        (preset("dist-paper"), naive_dist(10.0, 0.0, beta=1.0, gamma=1.0)),
        (dkd.Config(temperature=3.0, alpha=0.5, beta=6.0), naive_dkd(3.0, 0.5, beta=6.0)),
        (lskd.Config(temperature=3.0, beta=5.0), 0.1 * naive_ft() + 5 * 9 * naive_losses.lskd(S, T, 3.0)),
        (pkd.Config(temperature=3.0, beta=50.0), naive_pkd(pkd.Config(temperature=3.0, beta=50.0))),
        (pkd.Config(mapped="teacher"), naive_pkd(pkd.Config(mapped="teacher"))),
        (fitnets.Config(alpha=0.5), naive_fitnets(fitnets.Config(alpha=0.5))),
        (rkd.Config(distance_weight=2.0, angle_weight=3.0), naive_rkd(2.0, 3.0)),
        (sp.Config(beta=10.0), naive_ft() + 10 * naive_losses.sp(S_STATES[-1], T_STATES[-1])),
        (pkt.Config(beta=10.0), naive_ft() + 10 * naive_losses.pkt(S_STATES[-1], T_STATES[-1])),
        (MGSKD, naive_mgskd(MGSKD)),
        (CRD, naive_crd(CRD)),
        (simkd.Config(), naive_losses.simkd(states_of(STUDENT, TEACHER_WIDTHS)[-1].numpy(), T_STATES[-1])),
    ],
    ids=lambda value: value.kind if isinstance(value, Method) else "",
)
def test_loss_is_that_of_the_formula(method: Method, expected: float) -> None:
    assert loss(method).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("distance_loss", ["mse", "kl"])
@pytest.mark.parametrize(("window", "layers"), [(3, 1), (2, 2), (3, 3), (7, 4)])
def test_relations_are_those_of_the_formula(window: int, layers: int, distance_loss: Any) -> None:
    method = ckd.Config(window=window, distance_loss=distance_loss)
    outputs, batch, states = with_units(method, layers)
    expected = naive_losses.ckd(*states, batch.units.mask.numpy(), window, distance_loss)
    assert [loss.item() for loss in method.relation_losses(outputs, batch)] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("layers", [1, 2])
def test_structure_is_that_of_the_formula(layers: int) -> None:
    method = ast.Config()
    outputs, batch, states = with_units(method, layers)
    links = batch.units.parent.tolist(), batch.units.sibling.tolist()
    expected = naive_losses.ast(*states, batch.units.mask.tolist(), *links)
    assert [loss.item() for loss in method.structure_losses(outputs, batch)] == pytest.approx(expected, rel=1e-3)


def with_units(method: Method, layers: int) -> tuple[ClassifierOutput, Any, list[Any]]:
    """A student's outputs, a batch, and the states of units of both sides, ``(layers, sequences, units, width)``."""
    units = units_of(6)
    teacher = tokens_of(TEACHER, (7,) * (2 * layers + 1))
    student = tokens_of(STUDENT, (5,) + (6,) * layers)
    hidden = ClassifierOutput(logits=TEACHER, hidden_states=teacher)
    request = method.requests(layers)[1]
    captured = request.extract(hidden, SimpleNamespace(units=units))
    batch = batch_of(LABELS, {request.kind: captured}, units)
    states = [
        np.einsum("but,lbth->lbuh", WEIGHTS.double().numpy(), np.stack([one.numpy() for one in hidden]))
        for hidden in (student[1:], teacher[2::2])
    ]
    return ClassifierOutput(logits=STUDENT, hidden_states=student), batch, states


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({"beta": 2.0, "gamma": 5.0}, (2, 2, 5, 5)),
        ({"beta": 2.0, "beta_angle": 0.0, "gamma": 5.0, "gamma_angle": 7.0}, (2, 0, 5, 7)),
    ],
)
def test_the_weight_of_angles_is_that_of_distances_unless_given(weights: Any, expected: tuple[float, ...]) -> None:
    method = ckd.Config(window=3, **weights)
    relations = method.relation_losses(*inputs(method))
    weighted = sum(weight * value for weight, value in zip(expected, relations, strict=True))
    assert loss(method).item() == pytest.approx(naive_kd(4.0, 0.9, scale=16.0) + weighted.item(), rel=1e-6)


@pytest.mark.parametrize("name", ["ckd", "ckd-original", "ast"])
def test_units_that_are_missing_have_no_influence(name: str) -> None:
    method = preset(name)
    outputs, batch = inputs(method)
    # The teacher does not show unit 3, nor the edge to it from the node before.
    if name == "ast":
        batch.teacher["structure"][0, 2:4] = torch.nan
    else:
        batch.teacher["relations"][0, 3] = torch.nan
    changed = [states.clone() for states in outputs.hidden_states]
    for states in changed:
        states[1, 6:] += 3.0  # tokens of missing units, and of none
        states[:, 8] -= 2.0
        states[0, 4] *= -2.0
    other = ClassifierOutput(logits=outputs.logits, hidden_states=changed)
    first, second = (method.loss(one, batch, Module()) for one in (outputs, other))
    torch.testing.assert_close(first, second, rtol=1e-9, atol=0)


def test_a_student_that_is_deeper_than_its_teacher_cannot_learn_layer_by_layer() -> None:
    sizes = Sizes((5,) * 6, {"logits": (4,), "pooled": (4, 7)}, examples=6)
    for method in (pkd.Config(), fitnets.Config(), mgskd.Config()):
        with pytest.raises(CodekdError, match=r"student of 5 layers .* teacher of 3: choose a shallower student"):
            method.parts(sizes)


def test_pkd_needs_a_layer_before_the_last() -> None:
    with pytest.raises(CodekdError, match="a student of one layer has none, use kd"):
        pkd.Config().requests(layers=1)


def test_heads_must_divide_the_teachers_width() -> None:
    with pytest.raises(CodekdError, match=r"width 100 into 8 heads: 5 would fit"):
        mgskd.Config().parts(Sizes((5, 5), {"logits": (4,), "pooled": (5, 100)}, examples=6))


@pytest.mark.parametrize(("depth", "expected"), [(1, [1]), (2, [1, 2]), (3, [2, 3]), (4, [2, 3, 4]), (6, [3, 4, 5, 6])])
def test_mgskd_reads_the_layers_from_the_middle_on(depth: int, expected: list[int]) -> None:
    method = mgskd.Config(heads=2)
    sizes = Sizes((6,) * (depth + 1), {"logits": (4,), "pooled": (13, 8)}, examples=6)
    pooled = [states.requires_grad_() for states in states_of(STUDENT, sizes.student)]
    teacher = torch.stack(states_of(TEACHER, (8,) * 13), dim=1)
    batch = batch_of(LABELS, {"logits": TEACHER, "pooled": teacher})
    outputs = ClassifierOutput(logits=STUDENT, pooled=pooled)
    method.loss(outputs, batch, method.parts(sizes).double()).backward()
    assert [layer for layer, states in enumerate(pooled) if states.grad is not None] == expected


def test_a_state_of_the_teachers_width_needs_no_map() -> None:
    parts = pkd.Config().parts(Sizes((5, 7, 7), {"logits": (4,), "pooled": (5, 7)}, examples=6))
    assert not list(parts.parameters())


def test_what_is_void_on_two_classes_is_left_out_or_refused() -> None:
    assert dkd.Config().for_classes(2).beta == 0
    with pytest.raises(CodekdError, match="dkd with alpha 0 teaches nothing on two classes"):
        dkd.Config(alpha=0).for_classes(2)
    with pytest.raises(CodekdError, match="lskd on two classes keeps only the sign"):
        lskd.Config().for_classes(2)
    assert lskd.Config().for_classes(3) == lskd.Config()


@pytest.mark.parametrize("name", ["ckd", "ckd-original", "crd", "mgskd", "simkd"])
def test_methods_on_states_teach_on_two_classes_too(name: str) -> None:
    method = preset(name).for_classes(2)
    assert method == preset(name)
    student = logits(0, classes=2).requires_grad_()
    gradients = []
    for seed in (1, 2):
        taught, parts = inputs(method, student, logits(seed, classes=2), torch.full_like(LABELS, -1)), parts_of(method)
        method.loss(*taught, parts)
        method.step_taken(parts)  # what the teacher says of an example reaches crd's memory at the first visit
        gradients += torch.autograd.grad(method.loss(*taught, parts), student)
    assert not torch.allclose(*gradients)


# Every method, as its preset


@pytest.mark.parametrize("name", PRESETS)
def test_gradients(name: str) -> None:
    method = preset(name)
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
    method = preset(name)
    student = student.float().requires_grad_()
    for labels in (torch.zeros(len(student)).long(), torch.full((len(student),), -1)):
        value = loss(method, student, teacher.float(), labels)
        (gradient,) = torch.autograd.grad(value, student)
        assert value.isfinite()
        assert gradient.isfinite().all()


@pytest.mark.parametrize("name", PRESETS)
def test_loss_of_half_precision_outputs_is_computed_in_float32(name: str) -> None:
    method = preset(name)
    (outputs, batch), (_, exact) = inputs(method, teacher=TEACHER.float()), inputs(method)
    half, wide = (
        ClassifierOutput(
            logits=outputs.logits.bfloat16().to(dtype),
            pooled=[states.bfloat16().to(dtype) for states in outputs.pooled],
            hidden_states=[states.bfloat16().to(dtype) for states in outputs.hidden_states],
            features=outputs.features.bfloat16().to(dtype),
        )
        for dtype in (torch.bfloat16, torch.float64)
    )
    value = method.loss(half, batch, parts_of(method).float())
    expected = method.loss(wide, exact, parts_of(method))
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("name", PRESETS)
def test_methods_import_nothing_heavy(name: str) -> None:
    module = f"codekd.methods.{PRESETS[name]['kind']}"
    code = f"import sys, {module}; print({{'torch', 'numpy', 'transformers'}} & {{*sys.modules}})"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


# Labels


def test_smoothed_labels_have_the_weights_of_the_classes() -> None:
    weights = [0.5, 2.0, 1.0, 4.0]
    batch = batch_of(LABELS, {}, class_weights=torch.tensor(weights))
    found = smooth.Config(smoothing=0.3).loss(ClassifierOutput(logits=STUDENT), batch, Module())
    assert found.item() == pytest.approx(naive_smooth(0.3, weights), rel=1e-6)


def test_examples_without_a_label_add_nothing_to_the_hard_loss() -> None:
    student = STUDENT.clone().requires_grad_()
    value = hard_label_loss(student, batch_of(LABELS, {}))
    (gradient,) = torch.autograd.grad(value, student)
    known = hard_label_loss(STUDENT[LABELS >= 0], batch_of(LABELS[LABELS >= 0], {}))
    assert value.item() == pytest.approx(known.item())
    assert (gradient[LABELS == -1] == 0).all()
    assert (gradient[LABELS >= 0] != 0).all()


def test_batch_without_labels_has_no_hard_loss() -> None:
    student = STUDENT.clone().requires_grad_()
    value = hard_label_loss(student, batch_of(torch.full_like(LABELS, -1), {}))
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


def test_sides_are_contrasted_by_how_alike_the_teacher_finds_them() -> None:
    method = contrast.Config(temperature=5.0, alpha=0.7, beta=0.3, sharpness=0.2)
    outputs, batch = inputs(method)
    plain = method.loss(outputs, batch, Module()).item()
    assert plain == kd.Config(temperature=5.0, alpha=0.7).loss(outputs, batch, Module()).item(), "no sides, no contrast"
    outputs.vectors = torch.randn(12, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    alike = [naive_losses.softmax(row)[-1] for row in T]
    first, second = outputs.vectors[::2], outputs.vectors[1::2]
    expected = naive_losses.contrast_of_sides(first.numpy(), second.numpy(), alike, 0.2)
    assert method.loss(outputs, batch, Module()).item() - plain == pytest.approx(0.3 * expected, abs=1e-12)
    others = [naive_losses.softmax(-row)[-1] for row in T]
    logits_of_both, labels_of_both = torch.cat([TEACHER, -TEACHER]), torch.cat([LABELS, LABELS])
    whole = replace(batch, rows=torch.arange(12), labels=labels_of_both, teacher={"logits": logits_of_both})
    part = replace(batch, whole=whole)
    weighted, without = (
        one.loss(outputs, part, Module()).item() for one in (method, kd.Config(temperature=5.0, alpha=0.7))
    )
    share = 2 * sum(alike) / (sum(alike) + sum(others))
    assert weighted - without == pytest.approx(0.3 * expected * share, abs=1e-12), "a part counts by its alike pairs"
    assert contrast.contrast_of_sides(first, second, torch.zeros(6), 0.2) == 0
    assert contrast.contrast_of_sides(5 * first, first, torch.ones(6), 0.01).item() == pytest.approx(0, abs=1e-4)


def test_labels_and_logits_play_no_role_in_simkd() -> None:
    outputs, batch = inputs(simkd.Config())
    value = simkd.Config().loss(outputs, batch, Module())
    batch, outputs.logits = replace(batch, labels=torch.full_like(LABELS, -1)), -outputs.logits
    assert simkd.Config().loss(outputs, batch, Module()) == value


def test_kd_without_the_squared_temperature_is_soft_cross_entropy() -> None:
    method = preset("kd-paper")
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
