"""A batch that is cut, for memory or for several processes, has the gradient of the whole: for every method."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from data_stages import code_columns
from test_methods import PRESETS, preset

from codekd.data.batches import Batch, Encoded
from codekd.data.lexemes import parse
from codekd.data.lexer import lex
from codekd.data.rows import Captured, Fixed, Ragged
from codekd.data.sequences import Piece, sequence
from codekd.data.units import Tokens, Units, lexeme_units, node_units, token_units
from codekd.methods import crd, dist, ft
from codekd.methods.base import Method, Sizes
from codekd.models.architectures.base import Architecture, Lexemes
from codekd.models.architectures.conv import Config as Conv
from codekd.models.architectures.roberta import Config as RoBERTa
from codekd.models.device import Device
from codekd.models.head import ClassifierOutput, reuse_head
from codekd.models.inference import pooled_widths
from codekd.models.vocabulary import Vocabulary
from codekd.study.training import Training
from codekd.training import step

EXAMPLES, CLASSES, LONGEST, WIDTH, LAYERS, STATES = 16, 3, 60, 8, 2, 5
VOCABULARY = Vocabulary(size=300, pad_id=1, mask_id=4, hole_id=None, special_ids=(0, 1, 2, 3, 4))
STUDENT = RoBERTa(kind="roberta", vocabulary_size=300, max_length=64, layers=LAYERS, hidden=16, heads=2, dropout=0.0)
TEACHER = STUDENT.model_copy(update={"hidden": WIDTH})
ALL, FLOAT64 = np.arange(EXAMPLES), Device(torch.device("cpu"), torch.float32)
ALONE = [name for name in PRESETS if not preset(name).relates_examples]

CODE = code_columns(["code"], EXAMPLES)["code"]
LETTERS = 4
"""Characters in a token of the student: one may hold several lexemes. Those of the teacher have one each."""


def examples(letters: int) -> Encoded:
    """Functions in tokens of so many characters; windows of different lengths cut the longer ones."""
    lengths = np.array(
        [min(len(code) // letters, (LONGEST - 2 * row) * LETTERS // letters) for row, code in enumerate(CODE)]
    )
    return Encoded(
        ids=[f"example{row}" for row in ALL],
        labels=ALL % CLASSES,
        tokens=np.random.default_rng(0).integers(5, 300, size=lengths.sum()).astype(np.int32),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        second_start=lengths.astype(np.int32),
        vocabulary=VOCABULARY,
        signals={},
    )


def units_of(kind: str, letters: int) -> Units:
    data = examples(letters)
    if kind == "token":
        return token_units(data.lengths)
    starts = np.concatenate([np.arange(length) * letters for length in data.lengths]).astype(np.int32)
    tokens = Tokens(starts, starts + letters, data.offsets, data.second_start.astype(np.int64))
    syntax = [[parse(code, "python")] for code in CODE]
    return node_units(syntax, tokens) if kind == "node" else lexeme_units(syntax, tokens)


def taught(method: Method, labelled: int) -> Encoded:
    """The examples with signals of a made-up teacher, the first few with a label."""
    generator = torch.Generator().manual_seed(1)
    shapes = {"logits": (CLASSES,), "pooled": (STATES, WIDTH)}
    data, units = examples(LETTERS), None
    signals: dict[str, Captured] = {}
    for request in method.requests(LAYERS):
        if request.unit:
            live = units_of(request.unit, letters=1)
            hidden = torch.randn(STATES, EXAMPLES, LONGEST * LETTERS, WIDTH, generator=generator).unbind()
            shown = SimpleNamespace(units=live.batch(ALL, LONGEST * LETTERS, torch.device("cpu")))
            rows = request.extract(ClassifierOutput(logits=hidden[0], hidden_states=hidden), shown).numpy()
            values = np.concatenate([row[:count] for row, count in zip(rows, live.count, strict=True)])
            signals[request.kind] = Ragged(values, live.first[:, None], live.count[:, None])
            units = units_of(request.unit, LETTERS).within(live.first, live.count)
        else:
            drawn = torch.randn(EXAMPLES, *shapes[request.kind], generator=generator)
            signals[request.kind] = Fixed(drawn.double().numpy())
    return replace(data, labels=np.where(labelled > ALL, data.labels, -1), signals=signals, units=units)


@dataclass
class Stepped:
    """The loss and the gradient of a step, and the layers of the method."""

    gradient: dict[str, torch.Tensor]
    parts: torch.nn.Module


def stepped(
    method: Method,
    data: Encoded,
    parts: int,
    tmp_path: Any = None,
    tries: int = 1,
    student: Architecture = STUDENT,
    pooling: str = "first",
) -> Stepped:
    """A step on all examples in so many parts; in all tries but the last memory runs out after the first part."""
    torch.manual_seed(0)
    model = student.build(data.vocabulary, CLASSES, pooling)
    if method.reuses_head:
        TEACHER.build(VOCABULARY, CLASSES, "first").save_pretrained(tmp_path / "teacher")
        reuse_head(model, tmp_path / "teacher")
    shapes: Mapping[str, tuple[int, ...]] = {kind: signal.shape for kind, signal in data.signals.items()}
    layers = method.parts(Sizes(pooled_widths(model, data), shapes, EXAMPLES))
    failing = iter(range(tries - 1))

    def loss(output: ClassifierOutput, batch: Batch, layers: torch.nn.Module) -> torch.Tensor:
        value = method.loss(output, batch, layers)
        if 0 not in batch.rows and next(failing, None) is not None:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return value

    objective = step.Objective(loss, layers, True, method.relates_examples, method.step_taken)
    stepper = step.Stepper(model.double(), objective, Training(learning_rate=1e-9, clip=1e9), FLOAT64, "test")
    stepper.trained.double()
    stepper.parts = parts
    value = stepper.step(data, ALL)
    gradient = {name: one.grad for name, one in stepper.trained.named_parameters() if one.grad is not None}
    return Stepped({"loss": torch.tensor(value), **gradient}, layers)


def assert_alike(gradient: Mapping[str, torch.Tensor], whole: Mapping[str, torch.Tensor]) -> None:
    assert gradient.keys() == whole.keys()
    size = max(one.abs().max() for one in whole.values())
    for name, one in whole.items():
        torch.testing.assert_close(gradient[name], one, rtol=1e-6, atol=1e-8 * size, msg=name)


@pytest.mark.parametrize("labelled", [0, 3, 16])
@pytest.mark.parametrize("name", ALONE)
def test_the_parts_of_a_batch_add_up_to_its_gradient(name: str, labelled: int, tmp_path: Any) -> None:
    data = taught(preset(name), labelled)
    whole, *cut = (stepped(preset(name), data, parts, tmp_path).gradient for parts in (1, 2, 4, 16))
    for gradient in cut:
        assert_alike(gradient, whole)


@pytest.mark.parametrize(
    "method", [ft.Config(), preset("pseudo"), preset("kd"), preset("dkd")], ids=lambda one: one.kind
)
def test_parts_with_weights_of_classes_add_up_as_well(method: Method) -> None:
    data = replace(taught(method, 5), class_weights=np.array([0.1, 2.0, 5.0], dtype=np.float32))
    whole, *cut = (stepped(method, data, parts).gradient for parts in (1, 2, 4, 16))
    for gradient in cut:
        assert_alike(gradient, whole)


def test_methods_whose_loss_relates_examples_say_so() -> None:
    assert {preset(name).kind for name in PRESETS} - {preset(name).kind for name in ALONE} == {
        "contrast",
        "crd",
        "dist",
        "mgskd",
        "pkt",
        "rkd",
        "sp",
    }
    # Without its relation across the batch dist has none, and adds up.
    method = dist.Config(gamma=0.0)
    whole, cut = (stepped(method, taught(method, 3), parts).gradient for parts in (1, 4))
    assert_alike(cut, whole)


def test_a_step_that_is_tried_again_moves_a_memory_once() -> None:
    method = crd.Config(negatives=4, momentum=0.5, dimension=6)
    data = taught(method, 16)
    once, again = (stepped(method, data, parts=4, tries=tries).parts for tries in (1, 2))
    torch.testing.assert_close(once.banks, again.banks)


PAIRS = tuple((CODE[row], CODE[(5 * row + 3) % EXAMPLES]) for row in ALL)
APART = Conv(kind="conv", lexemes=Lexemes(buckets=300, width=8), max_length=30, layers=LAYERS, hidden=8, head_width=8)


def taught_apart(method: Method) -> Encoded:
    """Pairs of functions in lexemes, each side cut for itself, with signals of a made-up teacher that sees all."""
    encoded = []
    for limit in (10**6, APART.max_length):
        rows = [
            sequence(pieces, [(0, min(limit, len(piece.ids))) for piece in pieces])
            for pieces in ([Piece(*lex(code, "python")) for code in pair] for pair in PAIRS)
        ]
        data = Encoded.of_rows(rows, Vocabulary(2**31, 0, 1, 2, (0, 1, 2, 3), sides_apart=True))
        starts, ends = (np.concatenate([row[name] for row in rows]) for name in ("starts", "ends"))
        encoded.append((data, Tokens(starts, ends, data.offsets, data.second_start.astype(np.int64), apart=True)))
    (_, whole), (data, shown) = encoded
    syntax = [[parse(code, "python") for code in pair] for pair in PAIRS]
    generator, units = torch.Generator().manual_seed(1), None
    signals: dict[str, Captured] = {}
    for request in method.requests(LAYERS):
        if request.unit:
            make = node_units if request.unit == "node" else lexeme_units
            live = make(syntax, whole)
            length = int(np.diff(np.append(whole.offsets, len(whole.starts))).max())
            hidden = torch.randn(STATES, 2 * EXAMPLES, length, WIDTH, generator=generator).unbind()
            batch = SimpleNamespace(units=live.batch(ALL, length, torch.device("cpu")))
            rows = request.extract(ClassifierOutput(logits=hidden[0], hidden_states=hidden), batch).numpy()
            values = np.concatenate([row[:count] for row, count in zip(rows, live.count, strict=True)])
            signals[request.kind] = Ragged(values, *(one.reshape(-1, 2) for one in (live.first, live.count)))
            units = make(syntax, shown).within(live.first, live.count)
        else:
            drawn = torch.randn(EXAMPLES, CLASSES, generator=generator)
            signals[request.kind] = Fixed(drawn.double().numpy())
    labels = np.where(ALL < 5, ALL % CLASSES, -1)
    return replace(data, ids=[str(row) for row in ALL], labels=labels, signals=signals, units=units)


@pytest.mark.parametrize("name", ["ft", "kd", "ckd", "ast"])
def test_the_parts_of_a_batch_of_pairs_whose_sides_are_apart_add_up_as_well(name: str) -> None:
    data = taught_apart(preset(name))
    whole, *cut = (stepped(preset(name), data, parts, student=APART, pooling="pair").gradient for parts in (1, 3, 16))
    assert whole["loss"].isfinite() and all(one.isfinite().all() for one in whole.values())
    for gradient in cut:
        assert_alike(gradient, whole)
