"""The same Idempotency-Key, the same answer of a model: whole or streamed, by each API, charged once."""

import signal
import socket
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.conversation import (
    API,
    CHAT,
    CONVERSATIONS,
    FAILING_CHAT,
    StoredServer,
    bearer,
    chat,
    messages_of,
    new_conversation,
)
from support.raw_http import connect, request
from support.server import ServerProcess

RESPONSES, MESSAGES, COMPLETIONS = f"{API}/responses", f"{API}/messages", f"{API}/completions"
HELLO = [{"role": "user", "content": "one two three"}]
ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": (CHAT, {"messages": HELLO}),
    "completions": (COMPLETIONS, {"prompt": "one two three", "max_tokens": 5}),
    "responses": (RESPONSES, {"input": "one two three", "store": False}),
    "messages": (MESSAGES, {"messages": HELLO, "max_tokens": 50}),
}
KEEPING: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": (CHAT, {"messages": HELLO, "store": True}),
    "responses": (RESPONSES, {"input": "one two three"}),
}


def fresh() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid.uuid4())}


def charged(client: httpx.Client) -> int:
    """All tokens of a user."""
    total: int = client.get(f"{API}/usage").json()["totals"]["total_tokens"]
    return total


def conversations_of(client: httpx.Client) -> list[str]:
    return [found["id"] for found in client.get(CONVERSATIONS, params={"limit": 100}).json()["data"]]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("api", ASKED)
def test_sent_twice_answered_once(me: httpx.Client, api: str, stream: bool) -> None:
    """The second answer is the first, byte for byte, says so, and costs no tokens."""
    url, fields = ASKED[api]
    body, key = {"model": "echo", "stream": stream, **fields}, fresh()
    first = me.post(url, json=body, headers=key)
    assert first.status_code == 200, first.text
    assert b"three" in first.content
    assert "idempotent-replayed" not in first.headers
    paid = charged(me)
    second = me.post(url, json=body, headers=key)
    assert second.content == first.content
    assert second.headers["idempotent-replayed"] == "true"
    assert second.headers["content-type"] == first.headers["content-type"]
    assert charged(me) == paid
    reused = me.post(url, json={**body, "temperature": 0}, headers=key)
    assert reused.status_code == 409
    assert "used for another request" in reused.text


@pytest.mark.parametrize("api", KEEPING)
def test_sent_twice_stored_once(me: httpx.Client, api: str) -> None:
    """There is one conversation with one question and one answer. Once it is deleted, the answer is made anew."""
    url, fields = KEEPING[api]
    body, key, before = {"model": "echo", **fields}, fresh(), set(conversations_of(me))
    first, second = (me.post(url, json=body, headers=key) for _ in range(2))
    assert second.content == first.content
    [made] = set(conversations_of(me)) - before
    assert [message["role"] for message in messages_of(me, made)] == ["user", "assistant"]
    assert me.delete(f"{CONVERSATIONS}/{made}").status_code == 200
    anew = me.post(url, json=body, headers=key)
    assert anew.json()["id"] != first.json()["id"]


def test_in_a_conversation_stored_once(me: httpx.Client) -> None:
    """So has a conversation that is there already one more question and answer, by chat and by responses."""
    made = new_conversation(me)
    for url, fields in ((CHAT, {"messages": HELLO, "conversation_id": made}), (RESPONSES, {"input": "four"})):
        body = {"model": "echo", **fields}
        if url == RESPONSES:
            body["conversation"] = made
        key, before = fresh(), len(messages_of(me, made))
        first, second = (me.post(url, json=body, headers=key) for _ in range(2))
        assert first.status_code == 200, first.text
        assert second.content == first.content
        assert len(messages_of(me, made)) == before + 2


def test_an_error_in_a_stream_frees_the_key(me: httpx.Client) -> None:
    """A stream that fails is not kept. Sent again, it is tried again, and the question is stored once."""
    made, key = new_conversation(me), fresh()
    body = {"model": "echo", "stream": True, "conversation_id": made, "messages": HELLO}
    for _ in range(2):
        failed = me.post(FAILING_CHAT, json=body, headers=key)
        assert failed.status_code == 200
        assert b'"error"' in failed.content
        assert "idempotent-replayed" not in failed.headers
    roles = [message["role"] for message in messages_of(me, made)]
    assert roles.count("user") == 1


def test_where_it_means_nothing_it_is_named(me: httpx.Client, stored_server: StoredServer) -> None:
    """What creates nothing is carried out again. Of strangers no answer is stored."""
    body = {"model": "echo", "messages": HELLO}
    counted = me.post(f"{MESSAGES}/count_tokens", json=body, headers=fresh())
    assert counted.headers["x-jan-ignored"] == "Idempotency-Key"
    key = fresh()
    with httpx.Client(base_url=stored_server.process.url, trust_env=False) as stranger:
        first, second = (stranger.post(CHAT, json=body, headers=key) for _ in range(2))
    assert second.headers["x-jan-ignored"] == "Idempotency-Key"
    assert first.json()["id"] != second.json()["id"]


def begin_stream(server: ServerProcess, headers: dict[str, str], body: bytes) -> socket.socket:
    """Send a request; returns the connection once the first bytes of the answer came."""
    lines = [f"{name}: {value}" for name, value in headers.items()]
    connection = connect(server.url)
    connection.sendall(request("POST", CHAT, *lines, f"Content-Length: {len(body)}", body=body))
    assert connection.recv(1)
    return connection


def test_a_client_that_leaves_a_stream_finds_it_whole(start_server: Callable[[str], ServerProcess]) -> None:
    """The answer goes on without its client, who finds all of it; meanwhile it is said to be under way."""
    server = start_server(
        "models: [{id: echo, engine: echo, options: {step_seconds: 0.05}}]\ndata: data\n"
        "server: {keepalive_seconds: 0.02}"
    )
    key = fresh() | bearer(server.admin_key)
    words = " ".join(str(number) for number in range(20)).encode()
    body = b'{"model": "echo", "stream": true, "messages": [{"role": "user", "content": "%b"}]}' % words
    begin_stream(server, key, body).close()
    with httpx.Client(base_url=server.url, headers=key, timeout=60, trust_env=False) as client:
        while (answer := client.post(CHAT, content=body)).status_code == 409:
            assert answer.json()["error"]["code"] == "idempotency_in_progress"
    assert answer.headers["idempotent-replayed"] == "true"
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.endswith("data: [DONE]\n\n")
    assert answer.text.count('"content":"19"') + answer.text.count('"content":" 19"') == 1


DYING = """
import os, pathlib, signal
from datetime import timedelta
from jan.conversations import stored_answer
from handlers.service.health import HealthCheck
from jan.idempotency import once

class Dying(HealthCheck):
    pass

begin = stored_answer.KeptAnswer.begin

async def die(self):
    await begin(self)
    if pathlib.Path("die").exists():
        os.kill(os.getpid(), signal.SIGKILL)

stored_answer.KeptAnswer.begin = die
once._ABANDONED = timedelta(seconds=1)
"""


@pytest.fixture
def dying_server(tmp_path: Path) -> Iterator[StoredServer]:
    """A server that kills itself once the question and the beginning of its answer are stored."""
    (tmp_path / "dying.py").write_text(DYING)
    server = StoredServer(tmp_path, routes="  - {path: /dying, handler: dying.Dying, name: dying}\n")
    yield server
    server.process.kill_if_running()


def test_a_server_that_dies_while_it_answers(dying_server: StoredServer) -> None:
    """Sent again to the next server, the question is answered again, and stored once."""
    server = dying_server
    for url, fields in KEEPING.values():
        body, key = {"model": "echo", **fields}, fresh()
        with server.client() as client:
            before = set(conversations_of(client))
            (server.folder / "die").touch()
            with pytest.raises(httpx.TransportError):
                client.post(url, json=body, headers=key)
        assert server.process.wait() == -signal.SIGKILL
        (server.folder / "die").unlink()
        server.start()
        with server.client() as client:
            answer = client.post(url, json=body, headers=key)
            assert answer.status_code == 200, answer.text
            assert client.post(url, json=body, headers=key).content == answer.content
            [made] = set(conversations_of(client)) - before
            stored = messages_of(client, made)
            assert [message["role"] for message in stored].count("user") == 1
            assert stored[-1]["content"] == "one two three"
            assert chat(client, made, "and on").status_code == 200
    assert server.process.stop() == 0
