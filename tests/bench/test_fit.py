"""Set-up and the cost of a token, told apart by the lengths of answers."""

from statistics import StatisticsError

import pytest

from jan.bench.fit import Line


def test_two_lengths_tell_set_up_and_token_apart() -> None:
    line = Line.through({109: 0.001 + 109 * 7e-6, 437: 0.001 + 437 * 7e-6})
    assert line.set_up == pytest.approx(0.001)
    assert line.token == pytest.approx(7e-6)


def test_more_lengths_are_fitted_by_least_squares() -> None:
    """The middle one is off by 3: it moves the whole line up by 1, and does not tilt it."""
    line = Line.through({100: 10.0, 200: 23.0, 300: 30.0})
    assert line.token == pytest.approx(0.1)
    assert line.set_up == pytest.approx(1.0)


def test_one_length_tells_nothing_apart() -> None:
    with pytest.raises(StatisticsError):
        Line.through({109: 1.0})
