"""Alternating rounds, medians, ratios within a round, and contestants that fail."""

from collections.abc import Callable, Mapping, Sequence

import pytest

from jan.bench.bench_error import BenchError
from jan.bench.results import Row, Spread, Target, cost_ratio, percentile, ratio_to
from jan.bench.rounds import Comparison, alternate


class Contestant:
    """Gives its values in turn; one that is None is a failure."""

    def __init__(self, name: str, values: Sequence[float | None], calls: list[str]) -> None:
        self._name = name
        self._values = iter(values)
        self._calls = calls

    def __call__(self) -> Mapping[str, float]:
        self._calls.append(self._name)
        value = next(self._values)
        if value is None:
            raise BenchError(f"{self._name} fell over")
        return {"speed": value}


@pytest.fixture
def calls() -> list[str]:
    return []


@pytest.fixture
def contestant(calls: list[str]) -> Callable[..., Contestant]:
    return lambda name, *values: Contestant(name, values, calls)


def test_a_spread_is_median_least_and_greatest() -> None:
    spread = Spread.of([3.0, 1.0, 2.0])
    assert (spread.median, spread.low, spread.high, spread.samples) == (2.0, 1.0, 3.0, (3.0, 1.0, 2.0))


def test_a_ratio_is_of_what_was_measured_in_the_same_round() -> None:
    """The median of the ratios, not the ratio of the medians."""
    ratio = Spread.of([10.0, 40.0, 90.0]).over(Spread.of([10.0, 10.0, 30.0]))
    assert ratio is not None
    assert (ratio.median, ratio.low, ratio.high) == (3.0, 1.0, 4.0)
    assert Spread.of([1.0]).over(Spread.of([0.0])) is None


def test_percentiles_are_samples() -> None:
    samples = [float(number) for number in range(100, 0, -1)]
    assert percentile(samples, 0.5) == 51.0
    assert percentile(samples, 0.99) == 100.0
    assert percentile([5.0], 0.99) == 5.0
    assert percentile([], 0.5) == 0.0


def test_contestants_take_turns(contestant: Callable[..., Contestant], calls: list[str]) -> None:
    """A B A B, and the round that warms up is not counted."""
    both = {"jan": contestant("jan", 100, 4, 6), "other": contestant("other", 1, 2, 2)}
    rows, missing = alternate("case", both, Comparison("speed"), rounds=2, warm_up=True)
    assert calls == ["jan", "other"] * 3
    assert missing == {}
    assert [row.values["speed"].samples for row in rows] == [(4, 6), (2, 2)]
    assert [row.ratio and row.ratio.samples for row in rows] == [None, (2, 3)]
    assert ratio_to(rows, "case", "other") == 2.5
    assert ratio_to(rows, "case", "nobody") is None


def test_costs_are_compared_within_a_round_measure_by_measure() -> None:
    """Ours by the other's; nothing where one of them has no such measure."""
    ours = Row("case", "jan", {"set_up": Spread.of([1.0, 3.0, 8.0])})
    other = Row("case", "other", {"set_up": Spread.of([2.0, 4.0, 8.0]), "wait": Spread.of([1.0])})
    assert cost_ratio([ours, other], "case", "other", "set_up") == 0.75
    assert cost_ratio([ours, other], "case", "other", "wait") is None
    assert cost_ratio([ours, other], "case", "nobody", "set_up") is None


def test_ratios_can_be_of_the_others_by_one(contestant: Callable[..., Contestant]) -> None:
    both = {"small": contestant("small", 4, 4), "large": contestant("large", 5, 6)}
    comparison = Comparison("speed", "small", base_first=False)
    rows, _ = alternate("case", both, comparison, rounds=2, warm_up=False)
    assert [row.ratio and row.ratio.median for row in rows] == [None, 1.375]


def test_a_peer_that_fails_is_left_out(contestant: Callable[..., Contestant], calls: list[str]) -> None:
    """Its reason is kept, it is not tried again, and the others are measured to the end."""
    both = {"jan": contestant("jan", 1, 1, 1), "other": contestant("other", 1, None)}
    rows, missing = alternate("case", both, Comparison("speed"), rounds=3, warm_up=False)
    assert missing == {"other": "other fell over"}
    assert [row.who for row in rows] == ["jan"]
    assert calls == ["jan", "other", "jan", "other", "jan"]


def test_ours_must_not_fail(contestant: Callable[..., Contestant]) -> None:
    with pytest.raises(BenchError) as raised:
        alternate("case", {"jan": contestant("jan", None)}, Comparison("speed"), rounds=1, warm_up=False)
    assert raised.value.message == "case: jan fell over"


def test_a_target_is_met_missed_or_not_measured() -> None:
    assert [Target.at_least("a", 2.0, value).met for value in (2.0, 1.9, None)] == [True, False, None]
    assert [Target.at_most("a", 2.0, value).met for value in (2.0, 2.1, None)] == [True, False, None]
