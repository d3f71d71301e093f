import pytest

from codekd.analysis.metrics import scores


def test_two_classes_have_the_f1_of_class_one():
    # one true positive, one false positive, no false negative: F1 = 2 / (2 + 1)
    assert scores([0, 0, 0, 1], [0, 0, 1, 1], classes=2) == {
        "accuracy": pytest.approx(3 / 4),
        "macro_f1": pytest.approx((4 / 5 + 2 / 3) / 2),
        "f1": pytest.approx(2 / 3),
    }


def test_macro_f1_averages_over_the_classes_that_occur():
    # class 2 is predicted and never occurs: it costs class 0 an example and adds no zero of its own
    assert scores([0, 0, 1], [0, 2, 1], classes=20) == {
        "accuracy": pytest.approx(2 / 3),
        "macro_f1": pytest.approx((2 / 3 + 1) / 2),
    }


def test_nothing_found_is_zero_without_a_warning(recwarn):
    assert scores([1, 1], [0, 0], classes=2)["f1"] == 0.0
    assert not recwarn.list
