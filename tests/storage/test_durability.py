"""Acknowledged writes survive SIGKILL of the writer and of the database server."""

import asyncio
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.patience import kill

from jan.storage import Store, store_from_url
from jan.storage.records import ConversationRecord, MessageRecord

pytestmark = pytest.mark.slow

ME = "user_1"
WRITERS = 5

# Appends to each conversation as fast as it can and writes to a file what was acknowledged. While the store
# is away it sends the same message again, as a client would that does not know what became of it.
PROGRAM = """
import asyncio, os, sys
from jan.errors import Unavailable
from jan.schema.stored_items import items_made_of
from jan.storage import store_from_url
from jan.storage.records import MessageRecord

async def append(store, message):
    while True:
        try:
            return await store.messages.append("user_1", message, at_head=True)
        except Unavailable:
            await asyncio.sleep(0.05)

async def write(store, conversation_id):
    while True:
        message = MessageRecord(conversation_id=conversation_id, role="user", items=items_made_of("x" * 300))
        stored = await append(store, message)
        os.write(told, f"{conversation_id} {stored.sequence} {stored.id}\\n".encode())

async def main():
    store = store_from_url(sys.argv[2], timeout=1)
    await store.open()
    await asyncio.gather(*(write(store, conversation_id) for conversation_id in sys.argv[3:]))

told = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)

asyncio.run(main())
"""


def acknowledged(output: Path) -> list[tuple[str, int, str]]:
    """Read the acknowledgements to the writers. The kill may have cut the last line."""
    lines = output.read_text().split("\n")[:-1]
    return [(c, int(sequence), m) for c, sequence, m in (line.split() for line in lines)]


async def conversations_in(store: Store) -> list[str]:
    made = [ConversationRecord(user_id=ME) for _ in range(WRITERS)]
    for conversation in made:
        await store.conversations.create(conversation)
    return [conversation.id for conversation in made]


async def all_messages(store: Store, conversation_id: str) -> list[MessageRecord]:
    messages: list[MessageRecord] = []
    cursor = None
    while True:
        page = await store.messages.page(ME, conversation_id, limit=500, cursor=cursor)
        messages += page.items
        if (cursor := page.next_cursor) is None:
            return messages


async def check(url: str, conversation_ids: list[str], output: Path) -> int:
    """Every acknowledged message is there once, where it was acknowledged, and each tree is one chain."""
    store = store_from_url(url)
    await store.open()
    seen: dict[tuple[str, int], str] = {}
    for conversation_id in conversation_ids:
        messages = await all_messages(store, conversation_id)
        assert [message.sequence for message in messages] == list(range(1, len(messages) + 1))
        assert len({message.id for message in messages}) == len(messages)
        parents = [None, *(message.id for message in messages[:-1])]
        assert [message.parent_id for message in messages] == parents
        seen |= {(conversation_id, message.sequence): message.id for message in messages}
    await store.close()
    told = acknowledged(output)
    assert all(seen.get((c, sequence)) == m for c, sequence, m in told)
    assert len(set(told)) == len(told)
    return len(told)


async def prepared(url: str) -> list[str]:
    store = store_from_url(url)
    await store.open()
    made = await conversations_in(store)
    await store.close()
    return made


def wait_for_more(output: Path, before: int) -> None:
    """Wait until the writers got on, then a random while longer."""
    deadline = time.monotonic() + 60
    while len(acknowledged(output)) < before + WRITERS:
        assert time.monotonic() < deadline, "the writers do not get on"
        time.sleep(0.02)
    time.sleep(random.uniform(0, 0.4))


def test_sqlite_keeps_what_it_acknowledged(
    runner: asyncio.Runner,
    sqlite_url: str,
    tmp_path: Path,
    child: Callable[..., subprocess.Popen[bytes]],
) -> None:
    """Writers that are killed six times lose and repeat nothing that was acknowledged."""
    output = tmp_path / "acknowledged"
    output.touch()
    conversation_ids = runner.run(prepared(sqlite_url))
    for _ in range(6):
        told = len(acknowledged(output))
        process = child(PROGRAM, str(output), sqlite_url, *conversation_ids)
        wait_for_more(output, told)
        kill(process)
        assert runner.run(check(sqlite_url, conversation_ids, output)) > told


def test_mongodb_keeps_what_it_acknowledged(
    runner: asyncio.Runner, own_server: Any, tmp_path: Path, child: Callable[..., subprocess.Popen[bytes]]
) -> None:
    """The server is killed under the writers, then they too: nothing acknowledged is lost or doubled.

    Writers whose server comes back go on without being started again.
    """
    output, url = tmp_path / "acknowledged", own_server.url("jan_durability")
    output.touch()
    conversation_ids = runner.run(prepared(url))
    process = child(PROGRAM, str(output), url, *conversation_ids)
    for _ in range(3):
        wait_for_more(output, len(acknowledged(output)))
        own_server.stop(signal.SIGKILL)
        told = len(acknowledged(output))
        own_server.start()
        wait_for_more(output, told)
    kill(process)
    own_server.stop(signal.SIGKILL)
    own_server.start()
    assert runner.run(check(url, conversation_ids, output)) > 0
