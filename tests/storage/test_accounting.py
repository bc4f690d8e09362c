"""The contract of counters and usage, on every backend."""

import asyncio
import subprocess
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import msgspec
import pytest
from support.mongodb import mongo_client

from jan.storage import Store, store_from_url
from jan.storage.accounting import Counter, Demand, Taken, UsageRecord
from jan.storage.records import milliseconds, now

# Far from the database's own clock, by which it removes what has ended.
NOW = milliseconds(now() + timedelta(days=1))
MINUTE = 60_000


def demand(cost: int = 1, limit: int = 60, key: str = "a", seconds: float = 60.0) -> Demand:
    return Demand(key=key, cost=cost, limit=limit, seconds=seconds)


def used(taken: Taken) -> list[int]:
    return [counter.used for counter in taken.counters]


async def test_a_window_fills_and_then_refuses(store: Store) -> None:
    """A demand that fits is counted. One that does not is refused and not counted, and smaller ones still pass."""
    assert used(await store.counters.take([demand(50)], NOW)) == [50]
    refused = await store.counters.take([demand(11)], NOW + 1)
    assert refused.refused == 0
    assert used(refused) == [50]
    filled = await store.counters.take([demand(10)], NOW + 2)
    assert filled == Taken(counters=(Counter(key="a", used=60, ends_at=NOW + MINUTE),))


async def test_all_demands_or_none(store: Store) -> None:
    """Where the second of three does not fit, none is counted; the counters tell the state of all three."""
    await store.counters.take([demand(60, key="full")], NOW)
    taken = await store.counters.take([demand(key="first"), demand(key="full"), demand(key="last")], NOW)
    assert taken.refused == 1
    assert used(taken) == [0, 60, 0]
    after = await store.counters.take([demand(0, key="first"), demand(0, key="last")], NOW)
    assert used(after) == [0, 0]


async def test_looking_counts_nothing(store: Store) -> None:
    """A cost of 0 tells the state, of a window that is full too, and is never refused."""
    assert used(await store.counters.take([demand(0)], NOW)) == [0]
    await store.counters.take([demand(60)], NOW)
    looked = await store.counters.take([demand(0)], NOW)
    assert used(looked) == [60]
    assert looked.refused is None


async def test_more_than_the_whole_limit_never_fits(store: Store) -> None:
    """It is refused in an unused window, and begins none."""
    taken = await store.counters.take([demand(61)], NOW)
    assert taken.refused == 0
    assert used(taken) == [0]
    assert (await store.counters.take([demand(60)], NOW + 5)).counters[0].ends_at == NOW + 5 + MINUTE


async def test_a_window_ends_and_another_begins(store: Store) -> None:
    """At its end a window is over: the next demand begins one of its own."""
    await store.counters.take([demand(60)], NOW)
    assert (await store.counters.take([demand()], NOW + MINUTE - 1)).refused == 0
    begun = await store.counters.take([demand()], NOW + MINUTE)
    assert begun.counters == (Counter(key="a", used=1, ends_at=NOW + 2 * MINUTE),)


async def test_a_clock_that_is_set_back_locks_nobody_out(store: Store) -> None:
    """A window that ends later than a whole window from now is of a time that never was."""
    await store.counters.take([demand(60)], NOW + 60 * MINUTE)
    taken = await store.counters.take([demand()], NOW)
    assert taken.refused is None
    assert taken.counters[0].ends_at == NOW + MINUTE


async def test_a_demand_that_was_made_before_a_window_began_counts_in_it(store: Store) -> None:
    """Another process's clock is behind, or its demand was seconds on its way: the window goes on."""
    await store.counters.take([demand(59)], NOW)
    late = await store.counters.take([demand()], NOW - 10_000)
    assert (used(late), late.counters[0].ends_at) == ([60], NOW + MINUTE)
    assert (await store.counters.take([demand()], NOW - 10_000)).refused == 0


async def test_adjusting_gives_back_and_adds(store: Store) -> None:
    """An adjustment passes the limit, but not zero; a window that is over is left alone."""
    counter = (await store.counters.take([demand(10)], NOW)).counters[0]
    await store.counters.adjust(counter, -4)
    assert used(await store.counters.take([demand(0)], NOW)) == [6]
    await store.counters.adjust(counter, 100)
    assert used(await store.counters.take([demand(0)], NOW)) == [106]
    await store.counters.adjust(counter, -1000)
    assert used(await store.counters.take([demand(0)], NOW)) == [0]
    await store.counters.take([demand(5)], NOW + MINUTE)
    await store.counters.adjust(counter, 7)
    assert used(await store.counters.take([demand(0)], NOW + MINUTE)) == [5]


async def test_purging_forgets_what_has_ended(store: Store) -> None:
    """Only windows that are over go."""
    await store.counters.take([demand(3, key="old"), demand(3, key="new", seconds=120)], NOW)
    await store.counters.purge(NOW + MINUTE)
    looked = await store.counters.take([demand(0, key="old"), demand(0, key="new", seconds=120)], NOW)
    assert used(looked) == [0, 3]


async def test_a_fast_clock_ends_no_window(database_url: str) -> None:
    """The time at which MongoDB removes a window, by a clock of its own, is well behind its end."""
    store = store_from_url(database_url)
    await store.open()
    counter = (await store.counters.take([demand()], NOW)).counters[0]
    await store.close()
    with mongo_client(database_url, tz_aware=True) as client:
        counters = client.get_default_database()["counters"]
        stored = counters.find_one({"_id": "a"})
        indexes = [index for index in counters.list_indexes() if "expireAfterSeconds" in index]
    assert [list(index["key"]) for index in indexes] == [["expires_at"]]
    assert stored is not None
    assert milliseconds(stored["expires_at"]) >= counter.ends_at + 30 * MINUTE


async def test_two_stores_on_one_database_count_exactly(store: Store, second_store: Store) -> None:
    """Of 200 demands at once, half of them through each store, exactly 60 pass, in old and new windows."""
    for at in (NOW, NOW + MINUTE):
        demands = ([demand(), demand(limit=1000, key="hour", seconds=3600)] for _ in range(200))
        takes = [(store, second_store)[i % 2].counters.take(both, at) for i, both in enumerate(demands)]
        taken = await asyncio.gather(*takes)
        assert sum(one.refused is None for one in taken) == 60
        assert used(await store.counters.take([demand(0)], at)) == [60]
    hour = await store.counters.take([demand(0, limit=1000, key="hour", seconds=3600)], NOW + MINUTE)
    assert used(hour) == [120]


COUNT = """
import asyncio, sys
from jan.storage import store_from_url
from jan.storage.accounting import Demand

async def main(url, now):
    store = store_from_url(url)
    await store.open()
    demand = Demand(key="a", cost=1, limit=60, seconds=60.0)
    taken = await asyncio.gather(*(store.counters.take([demand], now) for _ in range(100)))
    await store.close()
    print(sum(one.refused is None for one in taken))

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


async def test_two_processes_count_exactly(
    store: Store, url: str, tmp_path: Path, child: Callable[..., "subprocess.Popen[bytes]"]
) -> None:
    """Of 200 demands, 100 from each of two processes, exactly 60 pass."""
    program = f"import sys; sys.stdout = open(sys.argv[3], 'w')\n{COUNT}"
    outputs = [tmp_path / "one", tmp_path / "two"]
    processes = [child(program, url, str(NOW), str(output)) for output in outputs]
    for process in processes:
        assert await asyncio.to_thread(process.wait, 60) == 0
    assert sum(int(output.read_text()) for output in outputs) == 60


def usage(**fields: object) -> UsageRecord:
    given = {"user_id": "user_1", "key_id": "key_1", "model": "m", "day": date(2026, 5, 1), **fields}
    return UsageRecord(**given)  # type: ignore[arg-type]


async def test_usage_adds_up_by_user_key_model_and_day(store: Store) -> None:
    """Rows of the same four are one; each other one is a row of its own."""
    more = {"requests": 1, "prompt_tokens": 10, "completion_tokens": 5, "cached_tokens": 2}
    for row in (usage(**more), usage(**more), usage(model="n", **more)):
        await store.usage.add(row)
    for row in (usage(**more), usage(key_id="", **more), usage(user_id="", **more)):
        await store.usage.add(row)
    rows = await store.usage.of("user_1", date(2026, 5, 1), date(2026, 5, 1))
    assert [(row.model, row.key_id, row.requests, row.prompt_tokens) for row in rows] == [
        ("m", "", 1, 10),
        ("m", "key_1", 3, 30),
        ("n", "key_1", 1, 10),
    ]
    assert rows[1].completion_tokens == 15
    assert rows[1].cached_tokens == 6
    assert [row.user_id for row in await store.usage.of("", date(2026, 5, 1), date(2026, 5, 1))] == [""]


async def test_usage_of_some_days(store: Store) -> None:
    """Both ends are included, in order of day."""
    first = date(2026, 5, 1)
    for offset in (3, 0, 2, 1):
        await store.usage.add(usage(day=first + timedelta(days=offset), requests=offset))
    rows = await store.usage.of("user_1", first + timedelta(days=1), first + timedelta(days=2))
    assert [row.requests for row in rows] == [1, 2]


async def test_usage_added_at_once_is_not_lost(store: Store, second_store: Store) -> None:
    """Two servers add to the same row, new to both, again and again: the sum is right."""
    adds = [(store, second_store)[i % 2].usage.add(usage(requests=1)) for i in range(60)]
    await asyncio.gather(*adds)
    rows = await store.usage.of("user_1", date(2026, 5, 1), date(2026, 5, 1))
    assert [row.requests for row in rows] == [60]


def test_a_usage_row_is_named_by_its_place() -> None:
    """The id follows from user, key, model and day and from nothing else."""
    assert usage(requests=1).id == usage(requests=2).id
    others = [usage(user_id="x"), usage(key_id="x"), usage(model="x"), usage(day=date(2026, 5, 2))]
    assert len({row.id for row in [usage(), *others]}) == 5
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"user_id": "u", "model": "m", "day": "yesterday"}, UsageRecord)
