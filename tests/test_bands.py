"""Banded distances hold the angles of contextual distillation: against the formula, written out naively in float64."""

import pytest
import torch

from codekd.signals.bands import angles, band, mean_squared_angle_difference, neighbours, triangles


def naive_angles(states, window):
    """(batch, centre, i, j) -> cosine of the angle at the centre, for offsets i < j of existing units."""
    found = {}
    batch, units, _ = states.shape
    offsets = [offset for offset in range(-window, window + 1) if offset]
    pairs = [(i, j) for i in offsets for j in offsets if i < j]
    for row in range(batch):
        for centre in range(units):
            for pair, (i, j) in enumerate(pairs):
                if min(centre + i, centre + j) < 0 or max(centre + i, centre + j) >= units:
                    continue
                first = states[row, centre + i] - states[row, centre]
                second = states[row, centre + j] - states[row, centre]
                found[row, pair, centre] = (first @ second) / (first.norm() * second.norm())
    return found


@pytest.mark.parametrize(("units", "window"), [(9, 2), (4, 3), (1, 2), (12, 4)])
def test_angles_from_the_band_are_those_of_the_states(units, window):
    states = torch.randn(2, units, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = naive_angles(states, window)
    computed = angles(band(states, window)[0], window)
    exists = triangles(torch.ones(2, units, dtype=torch.bool), window)
    assert computed.shape == exists.shape == (2, window * (2 * window - 1), units)
    assert set(map(tuple, exists.nonzero().tolist())) == set(expected)
    for index, value in expected.items():
        assert computed[index] == pytest.approx(value.item(), abs=1e-6)


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


def test_a_missing_unit_takes_part_in_nothing():
    mask = torch.tensor([[True, True, False, True, True]])
    assert neighbours(mask, 2)[0].tolist() == [
        [True, False, False, True, False],
        [False, True, False, False, False],
    ]
    exists = triangles(mask, 2)
    whole = torch.ones_like(mask)
    assert (exists <= triangles(whole, 2)).all()
    assert not exists[0, :, 2].any()
    naive = naive_angles(torch.randn(1, 5, 3, dtype=torch.float64), 2)
    offsets = [(-2, -1), (-2, 1), (-2, 2), (-1, 1), (-1, 2), (1, 2)]
    expected = {
        (row, pair, centre)
        for row, pair, centre in naive
        if 2 not in (centre, centre + offsets[pair][0], centre + offsets[pair][1])
    }
    assert set(map(tuple, exists.nonzero().tolist())) == expected


def test_the_loss_in_blocks_is_the_mean_over_existing_angles_and_so_is_its_gradient():
    generator = torch.Generator().manual_seed(4)
    student = torch.randn(3, 8, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    teacher = band(torch.randn(3, 8, 6, dtype=torch.float64, generator=generator), 3)[0]
    mask = torch.tensor([[True] * 8, [True] * 5 + [False] * 3, [True, True, False, True] * 2])

    def loss():
        return mean_squared_angle_difference(band(student, 3)[0], teacher, mask, 3)

    exists = triangles(mask, 3)
    naive = (angles(band(student, 3)[0], 3) - angles(teacher, 3))[exists].square().mean()
    torch.testing.assert_close(loss(), naive)
    torch.testing.assert_close(*(torch.autograd.grad(value, student)[0] for value in (loss(), naive)))
    hidden = torch.autograd.grad(loss(), student)[0][1, 5:]
    assert (hidden == 0).all(), "a unit that does not exist has no influence"


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
    (angles(euclidean, 1).sum() + cosine.sum()).backward()
    assert torch.isfinite(states.grad).all()


def test_half_precision_distances_keep_the_angles():
    states = torch.randn(4, 40, 64, generator=torch.Generator().manual_seed(3))
    exact, _ = band(states.double(), 10)
    rounded = exact.half().double()
    exists = triangles(torch.ones(4, 40, dtype=torch.bool), 10)
    assert (angles(exact, 10) - angles(rounded, 10))[exists].abs().mean() < 5e-4
