"""Conversations when a server stops, dies or loses its store."""

import asyncio
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.conversation import (
    CHAT,
    CONVERSATIONS,
    IMPATIENT,
    StoredServer,
    append,
    chat,
    messages_of,
    new_conversation,
)
from support.mongodb import SecantusServer
from support.patience import in_time

from jan.schema.stored_items import items_made_of
from jan.storage import store_from_url
from jan.storage.records import MessageRecord, now

pytestmark = pytest.mark.slow

TEXT = " ".join(f"word{number}" for number in range(1000))


@pytest.fixture(params=["sqlite", "mongodb"])
def own_stored_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoredServer]:
    """A server of the test's own, to be ended at will, on a store of each backend in turn."""
    url = None
    if request.param == "mongodb":
        url = request.getfixturevalue("own_server").url("jan_ends")
    server = StoredServer(tmp_path / "server", url, environ=IMPATIENT)
    yield server
    server.process.kill_if_running()


@contextmanager
def streaming(server: StoredServer, client: httpx.Client, conversation_id: str) -> Iterator[httpx.Response]:
    """A long answer under way, some of it in the store."""
    body = {"model": "slow", "conversation_id": conversation_id, "stream": True}
    messages = [{"role": "user", "content": TEXT}]
    with (
        server.client() as watcher,
        client.stream("POST", CHAT, json=body | {"messages": messages}) as response,
    ):
        assert response.status_code == 200
        deadline = time.monotonic() + 30
        while not messages_of(watcher, conversation_id)[1]["content"]:
            assert time.monotonic() < deadline, "nothing of the answer is saved"
            time.sleep(0.05)
        yield response


def test_a_shutdown_keeps_the_partial_answer(own_stored_server: StoredServer) -> None:
    """An answer that is under way when the grace period is over is cut short, and stored so."""
    server = own_stored_server
    with server.client() as client:
        made = new_conversation(client)
        with streaming(server, client, made) as response:
            server.process.signal(signal.SIGTERM)
            assert b"shutting_down" in b"".join(in_time(response.iter_bytes()))
    assert server.process.wait() == 0
    server.start()
    with server.client() as client:
        answer = messages_of(client, made)[1]
    assert answer["status"] == "partial"
    assert answer["content"]
    assert TEXT.startswith(answer["content"])
    assert server.process.stop() == 0


def test_a_killed_server_leaves_what_was_saved(own_stored_server: StoredServer) -> None:
    """After SIGKILL the answer is there as far as it was saved, still ``streaming``; one that was not saved
    for long is marked ``partial`` when the server starts again, and the conversation goes on."""
    server = own_stored_server
    with server.client() as client:
        made = new_conversation(client)
        with streaming(server, client, made) as response:
            server.process.signal(signal.SIGKILL)
            with pytest.raises(httpx.HTTPError):
                b"".join(in_time(response.iter_bytes()))
    server.process.wait()
    asyncio.run(add_stale_answer(server.store_url, made))
    server.start()
    with server.client() as client:
        answer, stale = messages_of(client, made)[1:]
        assert answer["status"] == "streaming"
        assert answer["content"]
        assert TEXT.startswith(answer["content"])
        assert (stale["status"], stale["content"]) == ("partial", "as far as")
        following = chat(client, made, "go on", parent_message_id=answer["id"]).json()
        assert following["usage"]["prompt_tokens"] == 1000 + len(answer["content"].split()) + 2
    assert server.process.stop() == 0


async def add_stale_answer(url: str, conversation_id: str) -> None:
    """As a server leaves it that died ten minutes ago."""
    store = store_from_url(url)
    await store.open()
    at = now() - timedelta(minutes=10)
    stale = MessageRecord(
        conversation_id=conversation_id,
        role="assistant",
        items=items_made_of("as far as"),
        status="streaming",
        created_at=at,
        updated_at=at,
    )
    (admin,) = (await store.users.page(limit=2)).items
    await store.messages.append(admin.id, stale)
    await store.close()


@contextmanager
def locked(path: str) -> Iterator[None]:
    """While another process holds SQLite's write lock."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


@contextmanager
def gone(database: SecantusServer) -> Iterator[None]:
    """While the database is not there."""
    database.stop(signal.SIGKILL)
    yield
    database.start()


def test_a_short_outage_goes_unnoticed(tmp_path: Path) -> None:
    """An answer whose store is away for a while, at its end too, is complete and stored all the same."""
    server = StoredServer(tmp_path / "server", environ=IMPATIENT)
    try:
        with server.client() as client:
            made = new_conversation(client)
            body = {"model": "slow", "conversation_id": made, "stream": True}
            messages = [{"role": "user", "content": "word " * 50}]
            with client.stream("POST", CHAT, json=body | {"messages": messages}) as response:
                with locked(server.store_url.removeprefix("sqlite:///")):
                    time.sleep(2.5)
                assert b"".join(in_time(response.iter_bytes())).endswith(b"data: [DONE]\n\n")
            answer = messages_of(client, made)[1]
            assert (answer["status"], answer["content"]) == ("complete", "word " * 50)
    finally:
        server.process.kill_if_running()


def requests_that_write(client: httpx.Client, made: str) -> list[Callable[[], httpx.Response]]:
    message = {"role": "user", "content": "x"}
    return [
        lambda: client.post(CONVERSATIONS, json={}),
        lambda: client.post(f"{CONVERSATIONS}/{made}/messages", json=message),
        lambda: client.patch(f"{CONVERSATIONS}/{made}", json={"title": "x"}),
        lambda: client.delete(f"{CONVERSATIONS}/{made}"),
        lambda: chat(client, made, "hello"),
        lambda: chat(client, made, "hello", stream=True),
    ]


def requests_that_read(client: httpx.Client, made: str) -> list[Callable[[], httpx.Response]]:
    one = f"{CONVERSATIONS}/{made}"
    return [lambda url=url: client.get(url) for url in (CONVERSATIONS, one, f"{one}/messages", f"{one}/export")]


def test_without_the_store(request: pytest.FixtureRequest, own_stored_server: StoredServer) -> None:
    """While the store is away requests that need it are 503 and say when to come back, chat without a
    conversation goes on; when it is back all is as it was, without a restart."""
    server = own_stored_server
    away: Any = locked(server.store_url.removeprefix("sqlite:///"))
    if server.store_url.startswith("mongodb"):
        away = gone(request.getfixturevalue("own_server"))
    with server.client() as client:
        made = new_conversation(client, title="kept")
        append(client, made, "kept too")
        with away:
            needing = requests_that_write(client, made)
            if server.store_url.startswith("mongodb"):
                needing += requests_that_read(client, made)
            # All at once: each waits for the store in its turn.
            with ThreadPoolExecutor(len(needing)) as threads:
                answers = list(threads.map(lambda send: send(), needing))
            for answer in answers:
                assert answer.status_code == 503, answer.text
                assert int(answer.headers["retry-after"]) > 0
            alone = {"model": "echo", "messages": [{"role": "user", "content": "hello"}]}
            assert client.post(CHAT, json=alone).status_code == 200
        deadline = time.monotonic() + 30
        while (answer := chat(client, made, "hello")).status_code == 503:
            assert time.monotonic() < deadline, "the store does not come back"
        assert answer.status_code == 200
        assert client.get(f"{CONVERSATIONS}/{made}").json()["title"] == "kept"
        assert messages_of(client, made)[0]["content"] == "kept too"
    assert server.process.stop() == 0
