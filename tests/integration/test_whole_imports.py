"""Imports are whole or nothing: whether the client leaves, the store goes away, or the server is killed."""

import asyncio
import json
import secrets
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.conversation import CONVERSATIONS, StoredServer, bearer
from support.patience import until

from jan.conversations.imports import tidy, tidy_all
from jan.schema.stored_items import items_made_of
from jan.storage import Store, store_from_url
from jan.storage.records import ConversationRecord, MessageRecord, now

LINES = 900


@pytest.fixture(scope="module", params=["sqlite", "mongodb"])
def stored(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, mongodb_url: Callable[[str], str]
) -> Iterator[StoredServer]:
    url = mongodb_url(f"jan_imports_{secrets.token_hex(4)}") if request.param == "mongodb" else None
    server = StoredServer(tmp_path_factory.mktemp("imports"), url)
    yield server
    server.process.kill_if_running()


def export_of(title: str) -> bytes:
    """A conversation of many messages, in the form of an export."""
    first = {
        "object": "conversation",
        "id": "1",
        "title": title,
        "model": None,
        "metadata": {},
        "created_at": 1767225600,
        "updated_at": 1767225602,
        "head_id": str(LINES),
        "message_count": LINES,
    }
    lines: list[dict[str, Any]] = [first]
    lines += [
        {
            "object": "conversation.message",
            "id": str(number),
            "conversation_id": "1",
            "parent_id": str(number - 1) if number > 1 else None,
            "sequence": number,
            "role": "user",
            "content": f"{title} {number} " * 20,
            "status": "complete",
            "created_at": 1767225600,
            "updated_at": 1767225600,
        }
        for number in range(1, LINES + 1)
    ]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def send_and_leave(server: StoredServer, body: bytes) -> socket.socket:
    """Send a whole import, and read no answer."""
    host, port = server.process.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    head = (
        f"POST {CONVERSATIONS}/import HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/jsonl\r\n"
        f"Authorization: {bearer(server.key)['Authorization']}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    connection.sendall(head.encode() + body)
    return connection


def titled(client: httpx.Client, title: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(CONVERSATIONS, params={"q": title}).json()["data"]
    return found


def opened(server: StoredServer, work: Any) -> Any:
    """Run work on the server's store, in this process."""

    async def run() -> Any:
        store = store_from_url(server.store_url)
        await store.open()
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(run())


async def orphans(store: Store) -> list[str]:
    """Ids of conversations that messages name, and that are not there."""
    named = await store.messages.conversation_ids(after="", limit=1000)
    known = {each.id for each in await store.archive.matching(ConversationRecord, named)}
    return [each for each in named if each not in known]


def begin_and_leave(server: StoredServer, title: str) -> socket.socket:
    """Send an import; return once it has begun: its mark is there, or is gone already and all of it is stored."""

    async def begun(store: Store) -> socket.socket:
        whole = await store.archive.count(MessageRecord) + LINES
        connection = send_and_leave(server, export_of(title))
        async with asyncio.timeout(60):
            while not (await store.conversations.page("", limit=1)).items:
                if await store.archive.count(MessageRecord) >= whole:
                    break
        return connection

    connection: socket.socket = opened(server, begun)
    return connection


def test_an_import_whose_client_leaves_is_completed(stored: StoredServer) -> None:
    """All of it is there then, and nothing else."""
    with stored.client() as client:
        begin_and_leave(stored, "left early").close()
        assert until(lambda: [found["message_count"] for found in titled(client, "left early")] == [LINES])
    assert opened(stored, orphans) == []


def test_an_import_of_a_killed_server_is_seen_whole_or_not_at_all(stored: StoredServer) -> None:
    """What it stored is removed, when the next server has waited for a sign of life."""
    connection = begin_and_leave(stored, "killed")
    stored.process.kill_if_running()
    connection.close()
    stored.start()
    with stored.client() as client:
        assert [found["message_count"] for found in titled(client, "killed")] in ([], [LINES])
    opened(stored, lambda store: tidy(store, now()))
    assert opened(stored, orphans) == []


def test_orphans_of_earlier_versions_are_removed(stored: StoredServer) -> None:
    """At the next start; messages of conversations stay."""

    async def write(store: Store) -> int:
        left = [
            MessageRecord(conversation_id=f"conv_0001{n}", role="user", items=items_made_of("x"))
            for n in range(250)
        ]
        await store.archive.insert(MessageRecord, left)
        assert len(await orphans(store)) == 250
        return await store.archive.count(MessageRecord) - 250

    whole = opened(stored, write)
    stored.process.kill_if_running()
    stored.start()
    assert until(lambda: opened(stored, orphans) == [])
    assert opened(stored, lambda store: store.archive.count(MessageRecord)) == whole


def test_messages_of_an_import_under_way_are_no_orphans(stored: StoredServer) -> None:
    """Nor those of a conversation that may be stored at this moment."""

    async def write(store: Store) -> list[str]:
        old, new = ConversationRecord(id="conv_0002", user_id="user_1"), ConversationRecord(user_id="user_1")
        await store.archive.insert(ConversationRecord, [ConversationRecord(id="import_conv_0002", user_id="")])
        for sequence, conversation in enumerate((old, new)):
            message = MessageRecord(
                conversation_id=conversation.id, role="user", items=items_made_of("x"), sequence=sequence
            )
            await store.archive.insert(MessageRecord, [message])
        await tidy_all(store)
        kept = await orphans(store)
        await tidy(store, now())
        assert await orphans(store) == [new.id]
        await store.messages.delete_orphans([new.id])
        return kept

    kept = opened(stored, write)
    assert len(kept) == 2


def test_an_import_under_way_is_not_exported(stored: StoredServer, tmp_path: Path) -> None:
    """Its mark is no conversation."""

    async def mark(store: Store) -> None:
        await store.archive.insert(ConversationRecord, [ConversationRecord(id="import_conv_0003", user_id="")])

    opened(stored, mark)
    stored.jan("store", "export", str(tmp_path / "all.jsonl"))
    assert "import_conv" not in (tmp_path / "all.jsonl").read_text()
