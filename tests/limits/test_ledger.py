"""Tokens reserved, settled, and written down; also when the store comes and goes."""

import asyncio
from collections.abc import Coroutine, Sequence
from datetime import UTC, date, datetime
from typing import Any, TypeVar

import msgspec
import pytest
import structlog

from jan.errors import RateLimited, Unavailable
from jan.generation.token_count import UsedTokens
from jan.limits.ledger import Ledger, Payer
from jan.limits.limiter import Taker
from jan.limits.memory import MemoryCounters
from jan.limits.usage_writer import UsageWriter, merge
from jan.limits.windows import Windows
from jan.schema.limits import TokenBudget
from jan.schema.scopes import Identity
from jan.settings.limits import LimitSettings
from jan.storage.accounting import Counter, Counters, Demand, Taken, UsageRecord
from jan.telemetry.metrics import Metrics

T = TypeVar("T")

TODAY = datetime.now(UTC).date()
ACCOUNT = Payer(identity=Identity(owner="user_1", user_id="user_1", key_id="key_1"), model="echo")


class Log:
    """A usage log in memory that can be away, as a store can."""

    def __init__(self) -> None:
        self.rows: list[UsageRecord] = []
        self.calls = 0
        self.away = False
        #: The numbers of calls that fail.
        self.failing: set[int] = set()

    async def add(self, more: UsageRecord) -> None:
        self.calls += 1
        await asyncio.sleep(0)
        if self.away or self.calls in self.failing:
            raise Unavailable("the store is away")
        self.rows = merge([*self.rows, more])

    async def of(self, user_id: str, first: date, last: date) -> list[UsageRecord]:
        await asyncio.sleep(0)
        return [row for row in self.rows if row.user_id == user_id and first <= row.day <= last]


class Lab:
    """A ledger with budgets, its counters and its log."""

    def __init__(self, counters: Counters | None = None, **budget: int) -> None:
        self.counters = counters or MemoryCounters()
        self.log = Log()
        metrics = Metrics()
        self.metrics = metrics
        self.writer = UsageWriter(self.log, self.counters)
        taker = Taker(self.counters, metrics)
        self.windows = Windows(LimitSettings(user=TokenBudget(**budget)))
        self.ledger = Ledger(self.windows, taker, self.writer, metrics)
        self.taker = taker

    async def used(self) -> list[int]:
        windows = self.windows.of_tokens(ACCOUNT.identity)
        standings, _ = await self.taker.take([(window, 0) for window in windows])
        return [standing.counter.used for standing in standings]


async def wait_for(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def test_a_reservation_is_extended_and_settled() -> None:
    """Ten, then forty in all, then what it took; in every window."""

    async def main() -> None:
        lab = Lab(tokens_per_minute=50, tokens_per_day=100)
        entry = lab.ledger.open(ACCOUNT)
        await entry.reserve(10, 10)
        assert await lab.used() == [10, 10]
        standings = await entry.reserve(40, 40)
        assert [standing.remaining for standing in standings] == [10, 60]
        await entry.settle(UsedTokens(prompt=5, completion=7))
        assert await lab.used() == [12, 12]

    run(main())


def test_what_was_used_beyond_the_reservation_is_counted() -> None:
    """Also past the limit: the next one is refused."""

    async def main() -> None:
        lab = Lab(tokens_per_minute=50)
        entry = lab.ledger.open(ACCOUNT)
        await entry.reserve(6, 200)
        assert await lab.used() == [50]
        await entry.settle(UsedTokens(prompt=5, completion=70))
        assert await lab.used() == [75]
        with pytest.raises(RateLimited, match="used up"):
            await lab.ledger.open(ACCOUNT).reserve(1, 1)

    run(main())


def test_a_request_without_a_limit_passes_on_an_unused_budget_and_not_beside_another() -> None:
    """It may take all there is: alone it gets the whole budget, on a used one it is refused."""

    async def main() -> None:
        lab = Lab(tokens_per_minute=50)
        one, other = lab.ledger.open(ACCOUNT), lab.ledger.open(ACCOUNT)
        await one.reserve(1, 1)
        await one.reserve(20, 4096)
        with pytest.raises(RateLimited):
            await other.reserve(1, 1)
        await one.settle(UsedTokens(prompt=10, completion=2))
        await other.reserve(1, 1)
        with pytest.raises(RateLimited, match="38 are left, fewer than the 50"):
            await other.reserve(20, 4096)
        await other.settle(None)
        assert await lab.used() == [12]

    run(main())


def test_more_than_a_whole_budget_can_never_pass() -> None:
    """It is told so, in whichever window; nothing is reserved, and it is counted as a refusal."""

    async def main() -> None:
        lab = Lab(tokens_per_minute=50, tokens_per_day=30)
        with pytest.raises(RateLimited, match=r"user_tokens_per_day.*can never be served") as refused:
            await lab.ledger.open(ACCOUNT).reserve(40, 40)
        assert refused.value.headers["x-should-retry"] == "false"
        assert await lab.used() == [0, 0]
        assert b'jan_limits_refused_total{limit="user_tokens_per_day"} 1.0' in lab.metrics.exposition()

    run(main())


def test_a_window_that_ends_meanwhile_pays_nothing_and_the_next_one_all() -> None:
    """The give-back of an ended window never touches the one that follows it."""

    async def main() -> None:
        seconds = 0.0
        lab = Lab(MemoryCounters(lambda: seconds), tokens_per_minute=50)
        entry = lab.ledger.open(ACCOUNT)
        await entry.reserve(10, 10)
        seconds = 60.0
        await entry.reserve(40, 40)
        assert await lab.used() == [30]
        await entry.settle(UsedTokens(prompt=5, completion=20))
        assert await lab.used() == [25]
        entry = lab.ledger.open(ACCOUNT)
        await entry.reserve(20, 20)
        seconds = 120.0
        await lab.ledger.open(ACCOUNT).reserve(9, 9)
        await entry.settle(UsedTokens(prompt=1))
        assert await lab.used() == [9]

    run(main())


class SlowCounters(MemoryCounters):
    """Adjusts only when it is let."""

    waits = True

    def __init__(self) -> None:
        super().__init__()
        self.let = asyncio.Event()

    async def adjust(self, counter: Counter, change: int) -> None:
        await self.let.wait()
        await super().adjust(counter, change)


def test_a_cancelled_settlement_goes_on() -> None:
    """A client that leaves while its tokens are given back gets them back all the same."""

    async def main() -> None:
        counters = SlowCounters()
        lab = Lab(counters, tokens_per_minute=50)
        entry = lab.ledger.open(ACCOUNT)
        await entry.reserve(40, 40)
        settling = asyncio.create_task(entry.settle(UsedTokens(prompt=3)))
        await asyncio.sleep(0)
        settling.cancel()
        await asyncio.wait({settling})
        assert settling.cancelled()
        counters.let.set()
        await lab.ledger.close(5)
        assert await lab.used() == [3]

    run(main())


def test_what_is_counted_in_memory_is_done_at_once() -> None:
    """Reserving and settling never wait there, so that no cancellation can come in between."""

    async def main() -> None:
        lab = Lab(tokens_per_minute=50)
        entry = lab.ledger.open(ACCOUNT)
        for work in (entry.reserve(40, 40), entry.settle(UsedTokens(prompt=3))):
            with pytest.raises(StopIteration):
                work.send(None)
        assert await lab.used() == [3]

    run(main())


class DistantCounters(MemoryCounters):
    """Counts, and answers later, as a store at the other end of a wire does."""

    waits = True

    def __init__(self) -> None:
        super().__init__()
        self.answered = asyncio.Event()

    async def take(self, demands: Sequence[Demand], now: int) -> Taken:
        taken = await super().take(demands, now)
        await self.answered.wait()
        return taken


def test_a_reservation_that_is_cancelled_on_its_way_is_given_back() -> None:
    """A client that leaves while the store counts does not leave its tokens there."""

    async def main() -> None:
        counters = DistantCounters()
        lab = Lab(counters, tokens_per_day=50)
        entry = lab.ledger.open(ACCOUNT)
        reserving = asyncio.create_task(entry.reserve(40, 40))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        reserving.cancel()
        await asyncio.wait({reserving})
        assert reserving.cancelled()
        settling = asyncio.create_task(entry.settle(None))
        await asyncio.sleep(0)
        counters.answered.set()
        await settling
        assert await lab.used() == [0]

    run(main())


class AwayCounters(MemoryCounters):
    """As in a store that is away for adjustments."""

    away = True

    async def take(self, demands: Sequence[Demand], now: int) -> Taken:
        taken = await super().take(demands, now)
        self.last = taken.counters
        return taken

    async def adjust(self, counter: Counter, change: int) -> None:
        if self.away:
            raise Unavailable("the store is away")
        await super().adjust(counter, change)


def test_tokens_are_given_back_when_the_store_is_back() -> None:
    """The answer does not wait for it."""

    async def main() -> None:
        counters = AwayCounters()
        lab = Lab(counters, tokens_per_day=50)
        lab.writer.start()
        entry = lab.ledger.open(ACCOUNT)
        await entry.reserve(40, 40)
        await entry.settle(UsedTokens(prompt=3))
        assert await lab.used() == [40]
        counters.away = False
        await lab.ledger.close(5)
        assert await lab.used() == [3]

    run(main())


def test_usage_is_merged_and_written_behind_the_answers() -> None:
    """Many requests are one row; it is seen before it is written and once after."""

    async def main() -> None:
        lab = Lab()
        for _ in range(50):
            await lab.ledger.open(ACCOUNT).settle(UsedTokens(prompt=2, completion=3, cached=1))
        assert await lab.ledger.open(ACCOUNT).settle(None) is None
        expected = [
            UsageRecord(
                user_id="user_1",
                key_id="key_1",
                model="echo",
                day=TODAY,
                requests=50,
                prompt_tokens=100,
                completion_tokens=150,
                cached_tokens=50,
            )
        ]
        assert await lab.ledger.usage("user_1", TODAY, TODAY) == expected
        lab.writer.start()
        await wait_for(lambda: lab.log.rows)
        assert (lab.log.rows, lab.log.calls) == (expected, 1)
        assert await lab.ledger.usage("user_1", TODAY, TODAY) == expected
        assert await lab.ledger.usage("user_2", TODAY, TODAY) == []
        await lab.ledger.close(5)
        assert b'jan_tokens_total{kind="completion_tokens",model="echo"} 150.0' in lab.metrics.exposition()

    run(main())


def test_nobody_known_leaves_no_address() -> None:
    """All anonymous callers are one."""

    async def main() -> None:
        lab = Lab()
        stranger = Payer(identity=Identity(owner="ip:203.0.113.9"), model="echo")
        await lab.ledger.open(stranger).settle(UsedTokens(prompt=1))
        (row,) = await lab.ledger.usage("", TODAY, TODAY)
        assert (row.user_id, row.key_id) == ("", "")

    run(main())


def test_what_was_written_before_a_failure_is_not_written_again() -> None:
    """A store that fails between two rows has each of them once in the end."""

    async def main() -> None:
        lab = Lab()
        lab.log.failing = {2}
        other = msgspec.structs.replace(ACCOUNT, model="other")
        for account in (ACCOUNT, other):
            await lab.ledger.open(account).settle(UsedTokens(prompt=2))
        lab.writer.start()
        await lab.ledger.close(5)
        assert [(row.model, row.requests) for row in lab.log.rows] == [("echo", 1), ("other", 1)]

    run(main())


def test_nothing_is_lost_when_the_store_is_away_for_a_while() -> None:
    """It is kept, and written when the store is back, once; also if that is at the last moment."""

    async def main() -> None:
        lab = Lab()
        lab.log.away = True
        lab.writer.start()
        await lab.ledger.open(ACCOUNT).settle(UsedTokens(prompt=1))
        await wait_for(lambda: lab.log.calls)
        await lab.ledger.open(ACCOUNT).settle(UsedTokens(prompt=1))
        closing = asyncio.create_task(lab.ledger.close(20))
        await wait_for(lambda: lab.log.calls > 1)
        lab.log.away = False
        await closing
        assert [(row.requests, row.prompt_tokens) for row in lab.log.rows] == [(2, 2)]

    run(main())


def test_the_log_says_what_could_not_be_written() -> None:
    """A store that stays away until the end costs the numbers, and a line with them remains."""

    async def main() -> None:
        lab = Lab()
        lab.log.away = True
        lab.writer.start()
        await lab.ledger.open(ACCOUNT).settle(UsedTokens(prompt=7))
        await lab.ledger.close(0.3)

    with structlog.testing.capture_logs() as lines:
        run(main())
    (lost,) = (line for line in lines if line["log_level"] == "error")
    assert (lost["event"], lost["user_id"], lost["prompt_tokens"]) == ("usage is lost", "user_1", 7)
