"""Counting in memory: exact, all or none, by a clock that nobody can set; and while the store is away."""

import asyncio
from collections.abc import Sequence

import pytest

from jan.errors import Unavailable
from jan.limits.memory import FailoverCounters, MemoryCounters
from jan.storage.accounting import Counter, Counters, Demand, Taken

NOW = 1_700_000_000_000


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 5.0

    def __call__(self) -> float:
        return self.seconds


def demand(key: str = "k", cost: int = 1, limit: int = 3, seconds: float = 60, stranger: bool = False) -> Demand:
    return Demand(key=key, cost=cost, limit=limit, seconds=seconds, stranger=stranger)


def take(counters: Counters, *demands: Demand, now: int = NOW) -> Taken:
    return asyncio.run(counters.take(demands, now))


def used(counters: Counters, key: str) -> int:
    return take(counters, demand(key, cost=0)).counters[0].used


def test_a_window_takes_its_limit_and_no_more() -> None:
    """Three of three pass; the fourth is refused, and is not counted."""
    counters = MemoryCounters(Clock())
    assert [take(counters, demand()).refused for _ in range(4)] == [None, None, None, 0]
    assert used(counters, "k") == 3


def test_all_demands_or_none() -> None:
    """If one of two has no room, neither is counted, and the index says which. Both are reported."""
    counters = MemoryCounters(Clock())
    take(counters, demand("full", cost=3))
    taken = take(counters, demand("free"), demand("full"))
    assert taken.refused == 1
    assert [counter.used for counter in taken.counters] == [0, 3]
    assert used(counters, "free") == 0


def test_a_look_counts_nothing_and_begins_no_window() -> None:
    """A cost of 0 is granted even where nothing is left."""
    clock = Clock()
    counters = MemoryCounters(clock)
    take(counters, demand(cost=0))
    clock.seconds += 30
    taken = take(counters, demand(cost=3), demand(cost=0))
    assert taken.refused is None
    assert taken.counters[0].ends_at == NOW + 60_000
    assert take(counters, demand(cost=0)).refused is None


def test_a_window_ends_when_its_time_is_over() -> None:
    """It is still full just before, and empty then; the next one begins with the demand that finds none."""
    clock = Clock()
    counters = MemoryCounters(clock)
    take(counters, demand(cost=3))
    clock.seconds += 59.9
    assert take(counters, demand()).refused == 0
    clock.seconds += 0.1
    taken = take(counters, demand())
    assert (taken.refused, taken.counters[0].used) == (None, 1)


def test_the_wall_clock_can_be_set_without_harm() -> None:
    """A day back or ahead: the window ends when its sixty seconds are over, and says so in the time of now."""
    clock = Clock()
    counters = MemoryCounters(clock)
    take(counters, demand(cost=3))
    clock.seconds += 20
    for now in (NOW - 86_400_000, NOW + 86_400_000):
        taken = take(counters, demand(), now=now)
        assert (taken.refused, taken.counters[0].ends_at) == (0, now + 40_000)
    clock.seconds += 40
    assert take(counters, demand(), now=NOW - 86_400_000).refused is None


def test_an_adjustment_counts_in_its_own_window() -> None:
    """It may go past the limit, never below 0, and does nothing once the window is over."""
    clock = Clock()
    counters = MemoryCounters(clock)
    (counter,) = take(counters, demand(cost=2)).counters
    asyncio.run(counters.adjust(counter, 10))
    assert used(counters, "k") == 12
    asyncio.run(counters.adjust(counter, -99))
    assert used(counters, "k") == 0
    clock.seconds += 60
    take(counters, demand(cost=2))
    asyncio.run(counters.adjust(counter, -1))
    assert used(counters, "k") == 2


def test_ended_windows_are_forgotten() -> None:
    """Of many callers nothing is kept once their windows are over."""
    clock = Clock()
    counters = MemoryCounters(clock)
    for number in range(1000):
        take(counters, demand(str(number)))
    clock.seconds += 61
    take(counters, demand("last"))
    assert list(counters._windows) == ["last"]


def test_a_flood_of_addresses_does_not_fill_the_memory() -> None:
    """Of strangers there are never more windows than the most; the oldest go first, and no known caller's goes:
    nobody gets a new budget by sending from many addresses."""
    counters = MemoryCounters(Clock())
    take(counters, demand("known", cost=3))

    async def flood() -> None:
        for number in range(100_010):
            await counters.take([demand(str(number), stranger=True)], NOW)

    asyncio.run(flood())
    assert len(counters._windows) == 100_001
    assert used(counters, "100009") == 1
    assert used(counters, "0") == 0
    assert take(counters, demand("known")).refused == 0


def test_strangers_whose_windows_ended_leave_nothing() -> None:
    clock = Clock()
    counters = MemoryCounters(clock)
    for number in range(1000):
        take(counters, demand(str(number), stranger=True))
    clock.seconds += 61
    take(counters, demand("last"))
    assert (list(counters._windows), counters._strangers) == (["last"], {})


def test_counting_in_memory_never_waits() -> None:
    """``take`` and ``adjust`` end without giving way to the event loop: there is no I/O in them."""
    counters = MemoryCounters()
    with pytest.raises(StopIteration) as taken:
        counters.take([demand()], NOW).send(None)
    with pytest.raises(StopIteration):
        counters.adjust(taken.value.value.counters[0], 1).send(None)
    assert used(counters, "k") == 2


# --- the store away ---------------------------------------------------------------------------------


class Shared:
    """Counters that many processes would share, and that can be away; real ones, with a switch."""

    def __init__(self) -> None:
        self._counters = MemoryCounters()
        self.away = False
        self.asked = 0

    def _check(self) -> None:
        self.asked += 1
        if self.away:
            raise Unavailable("the store is away")

    async def take(self, demands: Sequence[Demand], now: int) -> Taken:
        self._check()
        taken = await self._counters.take(demands, now)
        counters = (Counter(key=c.key, used=c.used, ends_at=c.ends_at) for c in taken.counters)
        return Taken(counters=tuple(counters), refused=taken.refused)

    async def adjust(self, counter: Counter, change: int) -> None:
        self._check()

    async def purge(self, now: int) -> None:
        self._check()


def test_limits_hold_while_the_store_is_away() -> None:
    """Not closed: requests pass; not open: no more of them than the limit. The store is asked once a second."""
    clock, shared = Clock(), Shared()
    counters = FailoverCounters(shared, clock)
    assert take(counters, demand()).refused is None
    shared.away = True
    assert [take(counters, demand()).refused for _ in range(5)] == [None, None, None, 0, 0]
    assert shared.asked == 2
    clock.seconds += 1
    take(counters, demand())
    assert shared.asked == 3


def test_the_store_counts_again_when_it_is_back() -> None:
    """Within a second; what it held is held."""
    clock, shared = Clock(), Shared()
    counters = FailoverCounters(shared, clock)
    take(counters, demand(cost=2))
    shared.away = True
    take(counters, demand())
    shared.away = False
    clock.seconds += 1
    assert take(counters, demand()).counters[0].used == 3


def test_what_was_counted_here_is_given_back_here() -> None:
    """An adjustment of a window of the outage does not go to the store, nor the other way round."""
    clock, shared = Clock(), Shared()
    counters = FailoverCounters(shared, clock)
    (of_store,) = take(counters, demand(cost=2)).counters
    shared.away = True
    (own,) = take(counters, demand(cost=2)).counters
    asked = shared.asked
    asyncio.run(counters.adjust(own, -2))
    assert shared.asked == asked
    assert take(counters, demand(cost=3)).refused is None
    clock.seconds += 1
    shared.away = False
    asyncio.run(counters.adjust(of_store, -2))
    assert shared.asked == asked + 1
