"""A store that is away, locked or full: Unavailable soon, nothing half done, and recovery by itself."""

import asyncio
import os
import resource
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import msgspec
import pytest
import structlog

from jan.errors import ConfigurationError, Unavailable
from jan.schema.stored_items import items_made_of
from jan.storage import Store, store_from_url
from jan.storage.accounting import Counter, Demand, UsageRecord
from jan.storage.records import ConversationRecord, MessageRecord, User

pytestmark = pytest.mark.slow

ME = "user_1"
DEMAND = Demand(key="a", cost=1, limit=2, seconds=60.0)
USAGE = UsageRecord(user_id=ME, model="m", day=date(2026, 5, 1), requests=1)


# Far more than the stores here wait, and far less than a driver does by itself.
SOON = 15


@contextmanager
def refused() -> Iterator[None]:
    """The store must refuse inside, soon, with words for a client and a time to come back."""
    started = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        yield
    assert time.monotonic() - started < SOON
    assert int(caught.value.headers["Retry-After"]) > 0
    assert "127.0.0.1" not in caught.value.message


async def test_a_locked_file_is_unavailable(sqlite_url: str) -> None:
    """While another process holds the write lock reads go on and writes give up; then they work again."""
    store = store_from_url(sqlite_url, timeout=0.2)
    await store.open()
    user = User(email="a@example.com")
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with refused():
        await store.users.create(user)
    with refused():
        await store.counters.take([DEMAND], 0)
    assert (await store.users.page(limit=1)).items == []
    other.execute("ROLLBACK")
    other.close()
    await store.users.create(user)
    assert (await store.users.page(limit=2)).items == [user]
    assert (await store.counters.take([DEMAND], 0)).counters[0].used == 1
    await store.close()


async def test_a_full_disk_is_unavailable(sqlite_url: str) -> None:
    """A write that finds no room is refused whole; what was acknowledged stays, and room lets it go on."""
    store = store_from_url(sqlite_url, timeout=0.2)
    await store.open()
    conversation = ConversationRecord(user_id=ME)
    await store.conversations.create(conversation)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    written = os.stat(sqlite_url.removeprefix("sqlite:///") + "-wal").st_size
    told: list[str] = []
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (written + 200_000, hard))
        with refused():
            while True:
                message = MessageRecord(
                    conversation_id=conversation.id, role="user", items=items_made_of("x" * 5000)
                )
                told.append((await store.messages.append(ME, message, at_head=True)).id)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert told
    told.append((await store.messages.append(ME, message, at_head=True)).id)
    page = await store.messages.page(ME, conversation.id, limit=1000)
    assert [found.id for found in page.items] == told
    await store.close()


async def test_a_deleted_file_is_unavailable(sqlite_url: str) -> None:
    """A store whose file was deleted under it acknowledges nothing, and says so to a ping, without waiting."""
    store = store_from_url(sqlite_url, timeout=2.0 * SOON)
    await store.open()
    await store.ping()
    os.unlink(sqlite_url.removeprefix("sqlite:///"))
    for attempt in (store.ping(), store.users.create(User(email="a@example.com"))):
        with refused():
            await attempt
    await store.close()


async def test_a_fault_of_one_write_is_its_own(sqlite_url: str) -> None:
    """Writes that share a transaction with one that can't be stored are committed all the same."""
    store = store_from_url(sqlite_url)
    await store.open()
    conversation = ConversationRecord(user_id=ME)
    await store.conversations.create(conversation)
    contents = ["a", "b", "\ud800", "c", "d"]
    messages = [
        MessageRecord(conversation_id=conversation.id, role="user", items=items_made_of(c)) for c in contents
    ]
    appends = [store.messages.append(ME, message, at_head=True) for message in messages]
    outcomes = await asyncio.gather(*appends, return_exceptions=True)
    assert [isinstance(outcome, UnicodeEncodeError) for outcome in outcomes] == [c == "\ud800" for c in contents]
    page = await store.messages.page(ME, conversation.id, limit=9)
    assert [message.content for message in page.items] == ["a", "b", "c", "d"]
    await store.close()


async def test_a_cancelled_write_does_no_harm(store: Store) -> None:
    """Requests that are cancelled while they write leave the store able to serve the next one."""
    tasks = [asyncio.create_task(store.users.create(User(email=f"{i}@example.com"))) for i in range(6)]
    await asyncio.sleep(0)
    for task in tasks[:5]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert await store.users.find_by_email("5@example.com") is not None


async def test_a_closed_store_is_unavailable(url: str) -> None:
    """Before ``open`` and after ``close`` every operation raises Unavailable; closing twice is no error."""
    store = store_from_url(url)
    for _ in range(2):
        for attempt in (store.ping(), store.users.page(limit=1), store.users.create(User(email="a@b.c"))):
            with pytest.raises(Unavailable):
                await attempt
        await store.open()
        await store.open()
        await store.ping()
        await store.close()
        await store.close()


async def test_limits_and_usage_of_a_closed_store_are_unavailable(url: str) -> None:
    """Nobody passes a limit that nobody counts, and usage that is not kept is not said to be."""
    store = store_from_url(url)
    for attempt in (
        store.counters.take([DEMAND], 0),
        store.counters.take([msgspec.structs.replace(DEMAND, cost=0)], 0),
        store.counters.adjust(Counter(key="a", used=1, ends_at=1), -1),
        store.counters.purge(1),
        store.usage.add(USAGE),
        store.usage.of(ME, USAGE.day, USAGE.day),
    ):
        with pytest.raises(Unavailable):
            await attempt


async def test_close_commits_what_waits(sqlite_url: str) -> None:
    """Writes that were asked for before ``close`` are stored."""
    store = store_from_url(sqlite_url)
    await store.open()
    writes = [asyncio.create_task(store.users.create(User(email=f"{i}@example.com"))) for i in range(20)]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*writes)
    await store.open()
    assert len((await store.users.page(limit=50)).items) == 20
    await store.close()


def test_mongodb_comes_back(runner: asyncio.Runner, own_server: Any, opened: Callable[..., Store]) -> None:
    """A server that is killed or does not answer is Unavailable at once; its return needs no new ``open``."""
    url = own_server.url("jan_outage")
    store = opened(url, timeout=1)
    user = User(email="a@example.com")
    own_server.pause(signal.SIGSTOP)
    with refused():
        runner.run(store.users.create(user))
    own_server.pause(signal.SIGCONT)
    own_server.stop(signal.SIGKILL)
    for operation in (
        store.ping,
        lambda: store.users.get(user.id),
        lambda: store.users.create(user),
        lambda: store.counters.take([DEMAND], 0),
        lambda: store.usage.add(USAGE),
    ):
        with refused():
            runner.run(operation())
    late = store_from_url(url, timeout=0.5)
    with refused():
        runner.run(late.open())
    own_server.start()
    runner.run(late.open())
    runner.run(store.users.create(User(email="b@example.com")))
    assert runner.run(late.users.find_by_email("b@example.com")) is not None
    runner.run(late.close())


@pytest.mark.parametrize(
    "url",
    ["mongodb://jan:hunter2@127.0.0.1:1/", "mongodb://jan:hun:ter2@127.0.0.1:1/", "mongodb://jan:hunter2@/"],
)
async def test_a_password_is_never_repeated(url: str) -> None:
    """Neither an error nor the log tells the password in the URL."""
    pytest.importorskip("motor")
    store = store_from_url(url, timeout=0.2)
    with structlog.testing.capture_logs() as logs, pytest.raises((Unavailable, ConfigurationError)) as caught:
        await store.open()
    assert "ter2" not in f"{caught.value.message} {logs}"


async def test_a_crash_between_message_and_head_heals(database_url: str) -> None:
    """A message whose conversation did not follow it, for the server died between the two, is built upon."""
    pytest.importorskip("motor")
    store = store_from_url(database_url)
    await store.open()
    conversation = ConversationRecord(user_id=ME)
    await store.conversations.create(conversation)
    first = MessageRecord(conversation_id=conversation.id, role="user", items=items_made_of("1"))
    await store.messages.append(ME, first, at_head=True)
    left = MessageRecord(
        conversation_id=conversation.id, role="user", items=items_made_of("2"), parent_id=first.id, sequence=2
    )
    await store.archive.insert(MessageRecord, [left])
    assert (await store.conversations.get(ME, conversation.id)).message_count == 1
    assert [m.content for m in await store.messages.history(ME, conversation.id)] == ["1", "2"]
    newest = await store.messages.page(ME, conversation.id, limit=1, newest_first=True)
    assert newest.items == [left]
    assert await store.messages.append(ME, left) == left
    third = MessageRecord(conversation_id=conversation.id, role="user", items=items_made_of("3"))
    stored = await store.messages.append(ME, third, at_head=True)
    assert (stored.sequence, stored.parent_id) == (3, left.id)
    healed = await store.conversations.get(ME, conversation.id)
    assert (healed.head_id, healed.message_count) == (third.id, 3)
    await store.close()
