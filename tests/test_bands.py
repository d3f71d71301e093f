"""Banded distances hold the angles of contextual distillation: against the formula, written out naively in float64."""

from itertools import combinations

import pytest
import torch

from codekd.signals.bands import band, layer_angles, layer_distances, mean_squared_angle_difference, neighbours


def naive_angles(states, mask, window):
    """Cosines of the angles at every unit between every two units of its window, as a list of tensors."""
    found = []
    for row, there in zip(states, mask, strict=True):
        units = [unit for unit in range(len(row)) if there[unit]]
        for centre in units:
            around = [row[unit] - row[centre] for unit in units if 0 < abs(unit - centre) <= window]
            found += [torch.cosine_similarity(first, second, dim=0) for first, second in combinations(around, 2)]
    return found


def test_distances_in_the_band_are_those_of_the_states():
    states = torch.randn(3, 7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) + 30
    euclidean, cosine = band(states, 2)
    for k in range(1, 5):
        for unit in range(7 - k):
            first, second = states[:, unit], states[:, unit + k]
            torch.testing.assert_close(euclidean[:, k - 1, unit], (first - second).norm(dim=-1))
            if k <= 2:
                expected = 1 - torch.cosine_similarity(first, second)
                torch.testing.assert_close(cosine[:, k - 1, unit], expected)


def test_distances_between_layers_are_those_of_the_states():
    states = torch.randn(4, 2, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    euclidean, cosine = layer_distances(states)
    assert euclidean.shape == cosine.shape == (2, 6, 3)
    for pair, (first, second) in enumerate(combinations(states, 2)):
        torch.testing.assert_close(euclidean[:, pair], (first - second).norm(dim=-1))
        torch.testing.assert_close(cosine[:, pair], 1 - torch.cosine_similarity(first, second, dim=-1))
    corners = [(centre, *pair) for centre in range(4) for pair in combinations(set(range(4)) - {centre}, 2)]
    expected = [torch.cosine_similarity(states[j] - states[c], states[i] - states[c], dim=-1) for c, i, j in corners]
    torch.testing.assert_close(layer_angles(euclidean, 4), torch.stack(expected, 1))


def test_one_layer_has_no_distance_to_another():
    euclidean, cosine = layer_distances(torch.randn(1, 2, 3, 5))
    assert euclidean.shape == cosine.shape == (2, 0, 3)


def test_neighbours_are_those_that_exist():
    mask = torch.tensor([[True, True, False, True, True]])
    assert neighbours(mask, 2)[0].tolist() == [
        [True, False, False, True, False],
        [False, True, False, False, False],
    ]


@pytest.mark.parametrize("window", [1, 2, 3, 9])
def test_the_loss_in_blocks_is_the_mean_over_existing_angles_and_so_is_its_gradient(window):
    generator = torch.Generator().manual_seed(4)
    student = torch.randn(3, 8, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    teacher = torch.randn(3, 8, 6, dtype=torch.float64, generator=generator)
    mask = torch.tensor([[True] * 8, [True] * 5 + [False] * 3, [True, True, False, True] * 2])

    def loss():
        euclidean = band(student, window)[0]
        return mean_squared_angle_difference(euclidean, band(teacher, window)[0], mask, window)

    ours, theirs = (torch.stack(naive_angles(states, mask, window)) for states in (student, teacher))
    naive = (ours - theirs).square().mean()
    torch.testing.assert_close(loss(), naive)
    torch.testing.assert_close(*(torch.autograd.grad(value, student)[0] for value in (loss(), naive)))
    hidden = torch.autograd.grad(loss(), student)[0][1, 5:]
    assert (hidden == 0).all(), "a unit that does not exist has no influence"


def test_units_at_the_same_place_form_no_angle():
    generator = torch.Generator().manual_seed(5)
    student, teacher = (torch.randn(1, 4, 5, dtype=torch.float64, generator=generator) for _ in range(2))
    together = student.clone()
    together[:, 2] = together[:, 1]
    mask = torch.ones(1, 4, dtype=torch.bool)
    computed = mean_squared_angle_difference(band(together, 3)[0], band(teacher, 3)[0], mask, 3)
    errors = []
    for centre in range(4):
        rest = [unit for unit in range(4) if unit != centre and {unit, centre} != {1, 2}]
        for pair in combinations(rest, 2):
            cosines = [
                torch.cosine_similarity(*(one[0, unit] - one[0, centre] for unit in pair), dim=0)
                for one in (together, teacher)
            ]
            errors.append((cosines[0] - cosines[1]) ** 2)
    torch.testing.assert_close(computed, torch.stack(errors).mean())


def test_no_angle_is_no_loss():
    states = torch.randn(2, 2, 3, requires_grad=True)
    euclidean = band(states, 2)[0]
    loss = mean_squared_angle_difference(euclidean, euclidean.detach(), torch.ones(2, 2, dtype=torch.bool), 2)
    loss.backward()
    assert loss == 0
    assert (states.grad == 0).all()


def test_gradients_are_finite_where_units_coincide():
    states = torch.ones(1, 4, 3, requires_grad=True)
    euclidean, cosine = band(states, 1)
    angles = mean_squared_angle_difference(euclidean, torch.ones_like(euclidean), torch.ones(1, 4).bool(), 1)
    (angles + cosine.sum()).backward()
    assert torch.isfinite(states.grad).all()


def test_half_precision_distances_keep_the_angles():
    states = torch.randn(4, 40, 64, generator=torch.Generator().manual_seed(3))
    exact, _ = band(states.double(), 10)
    error = mean_squared_angle_difference(exact, exact.half().double(), torch.ones(4, 40).bool(), 10)
    assert error < 2e-7
