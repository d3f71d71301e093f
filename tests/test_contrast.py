"""The memory of contrastive distillation: what it draws, and what a batch changes in it."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from codekd.errors import CodekdError
from codekd.methods import crd
from codekd.methods._contrast import Contrast
from codekd.methods.base import Sizes


def contrast(examples=20, **settings):
    torch.manual_seed(0)
    sizes = Sizes((4, 5), {"pooled": (3, 7)}, examples)
    return crd.Config(dimension=6, temperature=0.5, **settings).parts(sizes)


def states(count):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 5, generator=generator), torch.randn(count, 7, generator=generator)


CPU = torch.device("cpu")


def test_all_examples_are_equally_likely_to_be_drawn():
    drawn = Contrast((5, 7), 6, examples=5, negatives=20_000, temperature=1, momentum=0.5).draw(CPU)
    assert drawn.bincount(minlength=5).sub(4000).abs().max() < 300


@pytest.mark.parametrize(("examples", "negatives"), [(20, 19), (2000, 1024)])
def test_there_are_no_more_negatives_than_other_examples(examples, negatives):
    assert contrast(examples).draw(CPU).shape == (negatives,)


def test_an_example_is_no_negative_of_itself():
    memory = contrast(examples=3, negatives=2)
    memory.draw = lambda device: torch.tensor([0, 1])
    odds = memory(*states(2), torch.tensor([1, 2]))
    assert odds.isinf().tolist() == 2 * [[[False, False, True], [False, False, False]]]
    assert crd.contrastive_loss(odds).isfinite()


def test_one_example_has_no_negative():
    with pytest.raises(CodekdError, match="was given one: give it more"):
        contrast(examples=1)


def test_a_batch_moves_the_memory_of_its_examples_and_of_no_other():
    memory = contrast(momentum=0.25)
    rows, (student, teacher) = torch.tensor([7, 2]), states(2)
    before = memory.banks.clone()
    memory(student, teacher, rows)
    assert torch.equal(memory.banks, before), "until a step is taken"
    memory.remember()
    for bank, old, to, seen in zip(memory.banks, before, memory.maps, (student, teacher), strict=True):
        moved = normalize(0.25 * old[rows] + 0.75 * normalize(to(seen), dim=1), dim=1)
        torch.testing.assert_close(bank[rows], moved)
        rest = [row for row in range(20) if row not in rows]
        assert torch.equal(bank[rest], old[rest])


def test_the_constants_are_those_of_the_first_batch():
    memory = contrast(negatives=8)
    odds = memory(*states(4), torch.arange(4))
    memory.remember()
    first = memory.constants.clone()
    shares = odds.exp().sum((1, 2)) / odds.isfinite().sum((1, 2))
    torch.testing.assert_close(shares, torch.full((2,), 1 / 8))
    memory(*(10 * values.flip(0) for values in states(4)), torch.arange(4) + 4)
    memory.remember()
    assert torch.equal(memory.constants, first)


def test_what_tells_nothing_has_the_odds_of_noise():
    memory = contrast(negatives=8)
    for to in memory.maps:
        torch.nn.init.zeros_(to.weight)
        torch.nn.init.zeros_(to.bias)
    odds = memory(*states(3), torch.arange(3))
    torch.testing.assert_close(odds, torch.full((2, 3, 9), -math.log(8)))
    assert crd.contrastive_loss(odds).item() == pytest.approx(2 * (math.log(9) + 8 * math.log(9 / 8)), rel=1e-5)
