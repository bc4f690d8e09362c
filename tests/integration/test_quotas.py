"""Quotas of what a user stores, over HTTP, on every store: refused beyond them, whole, with nothing changed."""

import asyncio
import secrets
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from support.conversation import (
    API,
    CONVERSATIONS,
    StoredServer,
    append,
    bearer,
    chat,
    messages_of,
    new_conversation,
)
from support.server import ServerProcess, http_client

KEYS = f"{API}/user/api-keys"
PRESETS = f"{API}/user/presets"
LIMITS = {"keys": 3, "presets": 2, "conversations": 3, "messages": 8, "bytes": 20_000, "shares": 2}
QUOTA = {
    "JAN__SHARES__ENABLED": "true",
    **{f"JAN__LIMITS__QUOTA__{name.upper()}": str(limit) for name, limit in LIMITS.items()},
}


@pytest.fixture(scope="module", params=["sqlite", "mongodb"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoredServer]:
    """A server with small quotas."""
    folder, store_url = tmp_path_factory.mktemp(request.param), None
    if request.param == "mongodb":
        pytest.importorskip("motor")
        store_url = request.getfixturevalue("mongodb_url")(f"jan_test_{secrets.token_hex(6)}")
    server = StoredServer(folder, store_url, environ=QUOTA)
    yield server
    assert server.process.stop() == 0
    assert server.process.errors() == []


@pytest.fixture
def me(server: StoredServer) -> Iterator[httpx.Client]:
    """A person of the test's own, who has one key."""
    with server.client(server.add_user()) as client:
        yield client


def quotas(client: httpx.Client) -> dict[str, tuple[int | None, int, int | None]]:
    """Return limit, used and remaining by name."""
    report = client.get(f"{API}/usage").json()["quotas"]
    return {one["name"]: (one["limit"], one["used"], one["remaining"]) for one in report}


def used(client: httpx.Client) -> dict[str, int]:
    return {name: amount for name, (_, amount, _) in quotas(client).items()}


def refused(answer: httpx.Response, what: str, limit: int, taken: int) -> str:
    """The message of a refusal, which names the quota, its limit and what is used."""
    assert answer.status_code == 429, answer.text
    error = answer.json()["error"]
    assert (error["code"], error["type"]) == ("quota_exceeded", "rate_limit_error")
    assert answer.headers["x-should-retry"] == "false"
    assert f"quota of {what} is {limit} for this user: {taken} are used" in error["message"]
    message: str = error["message"]
    return message


def test_conversations(me: httpx.Client) -> None:
    """One too many is refused and not stored, also when it is sent again with an Idempotency-Key; a deletion gives
    room."""
    made = [new_conversation(me) for _ in range(3)]
    assert quotas(me)["conversations"] == (3, 3, 0)
    repeated = {"Idempotency-Key": secrets.token_hex(16)}
    for headers in ({}, repeated, repeated):
        refused(me.post(CONVERSATIONS, json={}, headers=headers), "conversations", 3, 3)
    assert {one["id"] for one in me.get(CONVERSATIONS).json()["data"]} == set(made)
    assert me.delete(f"{CONVERSATIONS}/{made[0]}").status_code == 200
    new_conversation(me)
    assert quotas(me)["conversations"] == (3, 3, 0)


def test_keys(me: httpx.Client) -> None:
    """Keys in use are counted: a rotated one once, a revoked one not at all."""
    first = me.post(KEYS, json={"name": "a"}).json()["id"]
    second = me.post(KEYS, json={"name": "b"}).json()["id"]
    assert quotas(me)["keys"] == (3, 3, 0)
    assert "Revoke" in refused(me.post(KEYS, json={"name": "c"}), "API keys", 3, 3)
    assert me.post(f"{KEYS}/{first}/rotate").status_code == 200
    assert me.delete(f"{KEYS}/{second}").status_code == 200
    assert me.post(KEYS, json={"name": "c"}).status_code == 200
    assert used(me)["keys"] == 3


def test_presets(me: httpx.Client) -> None:
    """One too many is refused and not stored, nor does it become the default; a deletion gives room. One
    whose name is taken counts nothing."""
    first, second = (me.post(PRESETS, json={"name": name, "default": True}).json()["id"] for name in "ab")
    assert quotas(me)["presets"] == (2, 2, 0)
    assert "Delete some" in refused(me.post(PRESETS, json={"name": "c", "default": True}), "presets", 2, 2)
    assert [one["id"] for one in me.get(PRESETS, params={"default": "true"}).json()["data"]] == [second]
    assert me.delete(f"{PRESETS}/{first}").status_code == 200
    assert me.post(PRESETS, json={"name": "B"}).status_code == 409
    assert used(me)["presets"] == 1


def test_messages(me: httpx.Client) -> None:
    """Messages of all conversations count together; one that is sent again with its id counts once."""
    first, second = new_conversation(me), new_conversation(me)
    for number in range(4):
        append(me, first, "x")
        append(me, second, "x", id=f"{secrets.token_hex(16)}{number}")
    last = messages_of(me, second)[-1]
    append(me, second, "x", id=last["id"])
    answer = me.post(f"{CONVERSATIONS}/{first}/messages", json={"role": "user", "content": "x"})
    assert "Delete conversations" in refused(answer, "messages", 8, 8)
    assert len(messages_of(me, first)) == 4
    assert me.delete(f"{CONVERSATIONS}/{second}").status_code == 200
    append(me, first, "x")
    assert used(me)["messages"] == 5


def test_shares(me: httpx.Client) -> None:
    """Links to conversations count until they are revoked, or their conversation is deleted."""
    first, second = new_conversation(me), new_conversation(me)
    shares = [me.post(f"{CONVERSATIONS}/{one}/shares", json={}).json() for one in (first, second)]
    made = [share["id"] for share in shares]
    answer = me.post(f"{CONVERSATIONS}/{first}/shares", json={})
    assert "Revoke some" in refused(answer, "links to shared conversations", 2, 2)
    assert me.delete(f"{API}/user/shares/{made[0]}").status_code == 200
    assert me.delete(f"{CONVERSATIONS}/{second}").status_code == 200
    assert quotas(me)["shares"] == (2, 0, 2)
    for share in shares:
        assert me.post(f"{API}/shared", json={"secret": share["secret"]}).status_code == 404


def test_bytes(me: httpx.Client) -> None:
    """The bytes of messages count as they are stored, whatever the language."""
    made = new_conversation(me)
    append(me, made, "ä" * 9000)
    taken = used(me)["bytes"]
    assert 18_000 < taken < 19_000
    answer = me.post(f"{CONVERSATIONS}/{made}/messages", json={"role": "user", "content": "x" * 2000})
    refused(answer, "bytes of messages", 20_000, taken)
    assert used(me) == {"keys": 1, "presets": 0, "conversations": 1, "messages": 1, "bytes": taken, "shares": 0}
    me.delete(f"{CONVERSATIONS}/{made}")
    assert used(me) == {"keys": 1, "presets": 0, "conversations": 0, "messages": 0, "bytes": 0, "shares": 0}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_turn_is_refused_before_its_answer(me: httpx.Client, stream: bool) -> None:
    """Question and answer count together: if both do not fit, nothing of the turn is stored."""
    made = new_conversation(me)
    for _ in range(7):
        append(me, made, "x")
    refused(chat(me, made, "hello", stream=stream), "messages", 8, 7)
    assert len(messages_of(me, made)) == 7
    assert used(me)["messages"] == 7


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_an_answer_that_began_is_never_cut(me: httpx.Client, stream: bool) -> None:
    """Its bytes may exceed the quota; the next turn is refused."""
    made = new_conversation(me)
    words = f"{'word' * 5} " * 600
    answer = chat(me, made, words, stream=stream)
    assert answer.status_code == 200
    [question, stored] = messages_of(me, made)
    assert stored["status"] == "complete"
    assert len(stored["content"]) > 10_000
    taken = used(me)["bytes"]
    assert taken > len(question["content"]) + len(stored["content"]) > LIMITS["bytes"]
    refused(chat(me, made, "more", stream=stream), "bytes of messages", 20_000, taken)
    assert len(messages_of(me, made)) == 2


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_refused_response_leaves_nothing(me: httpx.Client, stream: bool) -> None:
    """A response makes a conversation of its own. What it keeps of its request counts too."""

    def respond(**others: Any) -> httpx.Response:
        return me.post(f"{API}/responses", json={"model": "echo", "input": "one", "stream": stream, **others})

    tool = {"type": "function", "name": "f", "description": "x" * 25_000}
    refused(respond(tools=[tool]), "bytes of messages", 20_000, 0)
    assert me.get(f"{API}/conversations").json()["data"] == []
    assert [respond().status_code for _ in range(3)] == [200] * 3
    refused(respond(), "conversations", 3, 3)
    assert (used(me)["conversations"], used(me)["messages"]) == (3, 6)
    assert respond(store=False).status_code == 200


def test_an_import_is_refused_whole(me: httpx.Client) -> None:
    """A conversation that does not fit with all its messages is not stored at all."""
    made = new_conversation(me)
    for _ in range(4):
        append(me, made, "x")
    file = me.get(f"{CONVERSATIONS}/{made}/export").text
    assert me.post(f"{CONVERSATIONS}/import", content=file).status_code == 200
    before = used(me)
    assert (before["conversations"], before["messages"]) == (2, 8)
    refused(me.post(f"{CONVERSATIONS}/import", content=file), "messages", 8, 8)
    assert len(me.get(CONVERSATIONS).json()["data"]) == 2
    assert used(me) == before


def test_administrators_have_none(server: StoredServer) -> None:
    """They store what they like; what they use is shown to them without a limit."""
    with server.client() as admin:
        made = [new_conversation(admin) for _ in range(4)]
        assert quotas(admin)["conversations"] == (None, 4, None)
        for one in made:
            admin.delete(f"{CONVERSATIONS}/{one}")
        user_id = admin.get(f"{API}/users").json()["data"][-1]["id"]
        report = admin.get(f"{API}/usage", params={"user_id": user_id}).json()
        assert {one["name"]: one["limit"] for one in report["quotas"]} == LIMITS
        assert admin.get(f"{API}/usage", params={"user_id": ""}).json()["quotas"] == []


def test_the_command_line_shows_quotas(server: StoredServer, me: httpx.Client) -> None:
    """`jan user quota` shows what a user has used of each."""
    new_conversation(me)
    email = me.get(f"{API}/user/profile").json()["email"]
    lines = [line.split() for line in server.jan("user", "quota", email).splitlines()]
    assert ["conversations", "1", "of", "10000"] in lines


def test_exactly_the_quota_passes_two_processes(server: StoredServer, me: httpx.Client) -> None:
    """Of parallel requests to two servers on one store as many pass as there is room for."""
    made = new_conversation(me)
    second = ServerProcess(server.folder / "jan.yaml", environ=QUOTA)
    key = me.headers["Authorization"].removeprefix("Bearer ")

    async def ask() -> list[int]:
        clients = [
            httpx.AsyncClient(base_url=one.url, headers=bearer(key), timeout=60)
            for one in (server.process, second)
        ]
        body = {"role": "user", "content": "x"}
        path = f"{CONVERSATIONS}/{made}/messages"
        answers = await asyncio.gather(*(clients[number % 2].post(path, json=body) for number in range(24)))
        for client in clients:
            await client.aclose()
        return [answer.status_code for answer in answers]

    try:
        statuses = asyncio.run(ask())
        assert (statuses.count(200), statuses.count(429)) == (8, 16)
        assert len(messages_of(me, made)) == used(me)["messages"] == 8
        with http_client(second, headers=bearer(key)) as other:
            assert used(other) == used(me)
    finally:
        assert second.stop() == 0
