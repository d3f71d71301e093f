"""Tests, corrections and ranks against published examples and naive versions."""

import numpy as np
import pytest

from codekd.analysis.significance import average_ranks, corrected


def test_correction_is_holms():
    values = [0.01, 0.04, 0.03, 0.005]
    order, running, expected = np.argsort(values), 0.0, [0.0] * 4
    for number, place in enumerate(order):
        running = max(running, (len(values) - number) * values[place])
        expected[place] = min(1.0, running)
    assert expected == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert corrected(values) == pytest.approx(expected)
    assert corrected([]) == []


def test_ranks_are_those_of_demsars_example():
    """The four classifiers on 14 datasets of JMLR 2006, table 6: ranks 3.143, 2.000, 2.893, 1.964 and CD 1.25."""
    scores = np.array(
        [
            [0.763, 0.768, 0.771, 0.798],
            [0.599, 0.591, 0.590, 0.569],
            [0.954, 0.971, 0.968, 0.967],
            [0.628, 0.661, 0.654, 0.657],
            [0.882, 0.888, 0.886, 0.898],
            [0.936, 0.931, 0.916, 0.931],
            [0.661, 0.668, 0.609, 0.685],
            [0.583, 0.583, 0.563, 0.625],
            [0.775, 0.838, 0.866, 0.875],
            [1.000, 1.000, 1.000, 1.000],
            [0.940, 0.962, 0.965, 0.962],
            [0.619, 0.666, 0.614, 0.669],
            [0.972, 0.981, 0.9751, 0.975],
            [0.957, 0.978, 0.946, 0.970],
        ]
    )
    found = average_ranks(["C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf"], scores)
    assert found is not None
    assert found.ranks == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    assert found.critical_difference == pytest.approx(1.25, abs=0.005)
    assert found.blocks == 14 and found.p_value < 0.05


def test_too_few_methods_or_blocks_have_no_ranks():
    assert average_ranks(["a", "b"], np.eye(2)) is None
    assert average_ranks(["a", "b", "c"], np.ones((1, 3))) is None
