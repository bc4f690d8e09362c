"""The same Idempotency-Key, the same answer: sent twice, at once, and after the server died in between."""

import asyncio
import secrets
import signal
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.conversation import (
    ALL,
    API,
    CHAT,
    CONVERSATIONS,
    StoredServer,
    append,
    bearer,
    messages_of,
    new_conversation,
)
from support.lean_http import lean_client
from support.mongodb import mongo_client
from support.raw_http import connect, exchange, parse, request
from support.server import ServerProcess

KEYS, USERS, SHARES = f"{API}/user/api-keys", f"{API}/users", f"{API}/user/shares"
PRESETS = f"{API}/user/presets"
JSONL = {"Content-Type": "application/jsonl"}

# The server kills itself when an object was made and its answer not yet kept; and waits a second instead of a
# minute before it takes such a request for abandoned.
DYING = """
import os, pathlib, signal
from datetime import timedelta
from handlers.conversations.endpoints import ConversationCollection
from jan.idempotency import once as idempotency

class Dying(ConversationCollection):
    pass

real = idempotency.Idempotency.__init__

def init(self, answers):
    real(self, answers)
    finish = answers.finish
    async def die(request):
        if pathlib.Path("die").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        await finish(request)
    answers.finish = die

idempotency.Idempotency.__init__ = init
idempotency._ABANDONED = timedelta(seconds=1)
"""


DYING_ROUTE = "  - {path: /dying, handler: dying.Dying, name: dying}\n"


def fresh() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid.uuid4())}


def make_conversation(client: httpx.Client, key: dict[str, str]) -> httpx.Response:
    return client.post(CONVERSATIONS, json={"title": "Once"}, headers=key)


def oldest(client: httpx.Client) -> str:
    """The conversation that was prepared."""
    found: str = min(c["id"] for c in client.get(CONVERSATIONS, params={"limit": 100}).json()["data"])
    return found


def append_message(client: httpx.Client, key: dict[str, str]) -> httpx.Response:
    return client.post(
        f"{CONVERSATIONS}/{oldest(client)}/messages", json={"role": "user", "content": "Hi"}, headers=key
    )


def make_key(client: httpx.Client, key: dict[str, str]) -> httpx.Response:
    return client.post(KEYS, json={"name": "once"}, headers=key)


def rotate_key(client: httpx.Client, key: dict[str, str]) -> httpx.Response:
    first = next(k for k in client.get(KEYS, params={"limit": 500}).json()["data"] if k["name"] == "to rotate")
    return client.post(f"{KEYS}/{first['id']}/rotate", headers=key)


def import_conversation(client: httpx.Client, key: dict[str, str]) -> httpx.Response:
    lines = client.get(f"{CONVERSATIONS}/{oldest(client)}/export").content
    return client.post(f"{CONVERSATIONS}/import", content=lines, headers={**JSONL, **key})


def make_user(client: httpx.Client, key: dict[str, str]) -> httpx.Response:
    return client.post(USERS, json={"email": f"{key['Idempotency-Key']}@example.org"}, headers=key)


def make_share(client: httpx.Client, key: dict[str, str]) -> httpx.Response:
    return client.post(f"{CONVERSATIONS}/{oldest(client)}/shares", json={}, headers=key)


def make_preset(client: httpx.Client, key: dict[str, str]) -> httpx.Response:
    return client.post(PRESETS, json={"name": key["Idempotency-Key"], "default": True}, headers=key)


MAKERS = (
    make_conversation,
    append_message,
    make_key,
    rotate_key,
    import_conversation,
    make_user,
    make_share,
    make_preset,
)
Maker = Callable[[httpx.Client, dict[str, str]], httpx.Response]


def prepare(client: httpx.Client) -> None:
    """Create a conversation of two messages and a key to rotate, for the makers."""
    made = new_conversation(client)
    append(client, made, "one")
    append(client, made, "two", role="assistant")
    assert client.post(KEYS, json={"name": "to rotate"}).status_code == 200


def census(client: httpx.Client) -> dict[str, int]:
    """How many objects there are."""
    conversations = client.get(CONVERSATIONS, params={"limit": 100}).json()["data"]
    messages = sum(len(messages_of(client, conversation["id"])) for conversation in conversations)
    others = {url: len(client.get(url).json()["data"]) for url in (KEYS, USERS, SHARES, PRESETS)}
    return {"conversations": len(conversations), "messages": messages, **others}


@pytest.fixture(scope="module")
def admin(stored_server: StoredServer) -> Iterator[httpx.Client]:
    """The administrator, who may do all of it."""
    with stored_server.client() as client:
        prepare(client)
        yield client


# --- twice ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", MAKERS)
def test_sent_twice_made_once(admin: httpx.Client, make: Maker) -> None:
    """The second answer is the first, byte for byte, and says so; there is one object."""
    key = fresh()
    first = make(admin, key)
    assert first.status_code == 200, first.text
    assert "idempotent-replayed" not in first.headers
    made = census(admin)
    second = make(admin, key)
    assert second.status_code == 200, second.text
    assert second.headers["idempotent-replayed"] == "true"
    assert second.content == first.content
    assert second.headers["content-type"] == "application/json"
    assert second.headers["x-request-id"] != first.headers["x-request-id"]
    assert census(admin) == made


def test_without_a_key_made_twice(admin: httpx.Client) -> None:
    """Without the header nothing is remembered."""
    assert make_conversation(admin, {}).json()["id"] != make_conversation(admin, {}).json()["id"]


def test_under_another_prefix_it_is_the_same(admin: httpx.Client) -> None:
    """/v1 and /api/v1 are one API."""
    key = fresh()
    first = make_conversation(admin, key).json()
    second = admin.post("/v1/conversations", json={"title": "Once"}, headers=key)
    assert second.json() == first


def test_a_made_key_works(admin: httpx.Client, stored_server: StoredServer) -> None:
    """The secret that is given, and given again, opens what it should."""
    secret = make_key(admin, fresh()).json()["key"]
    with stored_server.client(secret) as client:
        assert client.get(f"{API}/user/profile").status_code == 200


def test_at_once_made_once(admin: httpx.Client, stored_server: StoredServer) -> None:
    """Thirty at once: one conversation, thirty answers that are the same."""
    before, key = census(admin), fresh()

    async def ask() -> list[httpx.Response]:
        headers = bearer(stored_server.key) | key
        async with lean_client(stored_server.process.url) as client:
            asked = (client.post(CONVERSATIONS, json={"title": "Many"}, headers=headers) for _ in range(30))
            return await asyncio.gather(*asked)

    answers = asyncio.run(ask())
    assert [answer.status_code for answer in answers] == [200] * 30
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 29
    assert census(admin)["conversations"] == before["conversations"] + 1


# --- whose, and for what ----------------------------------------------------------------------------------


def test_a_key_is_for_one_request(admin: httpx.Client) -> None:
    """With another body, or for another object, it is refused, and SDKs are told not to repeat that."""
    key = fresh()
    assert make_conversation(admin, key).status_code == 200
    other = admin.post(CONVERSATIONS, json={"title": "Another"}, headers=key)
    places = [new_conversation(admin), new_conversation(admin)]
    hello = {"role": "user", "content": "Hi"}
    key = fresh()
    first, second = (admin.post(f"{CONVERSATIONS}/{at}/messages", json=hello, headers=key) for at in places)
    assert first.status_code == 200
    for refused in (other, second):
        assert refused.status_code == 409
        assert refused.json()["error"]["code"] == "idempotency_key_reused"
        assert refused.headers["x-should-retry"] == "false"


def test_operations_do_not_meet(admin: httpx.Client) -> None:
    """The same key on two operations is two keys."""
    key = fresh()
    assert make_conversation(admin, key).status_code == make_key(admin, key).status_code == 200


def test_people_do_not_meet(me: httpx.Client, somebody: httpx.Client) -> None:
    """The same key of two people is two keys."""
    key = fresh()
    mine, theirs = make_conversation(me, key).json(), make_conversation(somebody, key)
    assert theirs.json()["id"] != mine["id"]
    assert "idempotent-replayed" not in theirs.headers


WEAKER: list[dict[str, Any]] = [
    {"permissions": ["write", "keys"]},
    {"tokens_per_minute": 30},
    {"tokens_per_day": 30},
    {"expires_at": "2126-01-01T00:00:00Z"},
]


@pytest.mark.parametrize("weaker", WEAKER, ids=lambda weaker: next(iter(weaker)))
def test_weaker_credentials_get_no_stronger_answer(
    me: httpx.Client, stored_server: StoredServer, weaker: dict[str, Any]
) -> None:
    """A key that may less than the one that asked first does not get its answer, which may hold a secret."""
    weak = me.post(KEYS, json={"name": "weak", "permissions": ALL, **weaker}).json()["key"]
    key = fresh()
    assert make_key(me, key).status_code == 200
    with stored_server.client(weak) as client:
        refused = client.post(KEYS, json={"name": "once"}, headers=key)
    assert refused.json()["error"]["code"] == "idempotency_key_reused"


def test_a_refusal_frees_the_key(admin: httpx.Client) -> None:
    """Only successes are kept: a request that was refused can be mended and sent again."""
    key = fresh()
    wrong = {"name": "once", "expires_at": "2001-01-01T00:00:00Z"}
    assert admin.post(KEYS, json=wrong, headers=key).status_code == 400
    assert make_key(admin, key).status_code == 200


@pytest.mark.parametrize("asker", ["user", "stranger"])
@pytest.mark.parametrize(
    "key", ["short", "x" * 256, "with a space in the middle", "", "umlaut-\xfc-umlaut-\xfc-umlaut"]
)
def test_a_bad_key(stored_server: StoredServer, key: str, asker: str) -> None:
    """Length and characters of keys are bounded, also for strangers, whose keys are not used. The refusal does not
    repeat what was sent."""
    url, body, known = CONVERSATIONS, b"{}", [f"Authorization: Bearer {stored_server.key}"]
    if asker == "stranger":
        url, body, known = CHAT, b'{"model": "echo", "messages": [{"role": "user", "content": "one"}]}', []
    headers = (*known, f"Content-Length: {len(body)}", f"Idempotency-Key: {key}")
    answer = parse(exchange(stored_server.process.url, request("POST", url, *headers, body=body)))
    assert answer.status == 400
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == ("invalid_idempotency_key", "Idempotency-Key")
    assert not key or key not in error["message"]


def test_it_is_in_the_document(admin: httpx.Client) -> None:
    """Exactly the operations that create have the parameter."""
    paths = admin.get("/api/openapi.json").json()["paths"]
    found = {
        path.removeprefix(API)
        for path, methods in paths.items()
        for operation in methods.values()
        if any(parameter["name"] == "Idempotency-Key" for parameter in operation.get("parameters", ()))
    }
    assert found - {"/failing/chat/completions"} == {
        "/chat/completions",
        "/completions",
        "/conversations",
        "/conversations/import",
        "/conversations/{conversation_id}/items",
        "/conversations/{conversation_id}/messages",
        "/conversations/{conversation_id}/shares",
        "/messages",
        "/responses",
        "/responses/compact",
        "/user/api-keys",
        "/user/api-keys/{key_id}/rotate",
        "/user/presets",
        "/users",
    }


# --- what the store knows ---------------------------------------------------------------------------------


def everything_stored(server: StoredServer) -> bytes:
    """All that somebody who reads the database sees."""
    if server.store_url.startswith("sqlite"):
        with sqlite3.connect(server.store_url.removeprefix("sqlite:///")) as database:
            return "\n".join(database.iterdump()).encode()
    with mongo_client(server.store_url) as client:
        database = client.get_default_database()
        return repr([list(database[name].find()) for name in database.list_collection_names()]).encode()


def test_the_store_cannot_read_it(admin: httpx.Client, stored_server: StoredServer) -> None:
    """Neither the secret of a key that was made nor the Idempotency-Key is in the database or the log."""
    key = fresh()
    made = make_key(admin, key).json()
    stored = everything_stored(stored_server)
    assert made["id"].encode() in stored
    assert b"given_answers" in stored or b"fingerprint" in stored
    log = "".join(stored_server.process.stderr).encode()
    for secret in (made["key"], made["key"].removeprefix("jan_"), key["Idempotency-Key"]):
        assert secret.encode() not in stored
        assert secret.encode() not in log


# --- a server that dies -----------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "mongodb"])
def dying_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoredServer]:
    """A server that kills itself, on a store of each backend in turn."""
    url = None
    if request.param == "mongodb":
        pytest.importorskip("motor")
        url = request.getfixturevalue("mongodb_url")(f"jan_test_{secrets.token_hex(6)}")
    (tmp_path / "dying.py").write_text(DYING)
    server = StoredServer(tmp_path, url, routes=DYING_ROUTE)
    yield server
    server.process.kill_if_running()


def test_a_server_that_dies_in_between(dying_server: StoredServer) -> None:
    """It is killed when the object is made and the answer not kept. Sent again to the next server, the request
    gives an answer, and there is one object: for each operation that creates."""
    server = dying_server
    with server.client() as client:
        prepare(client)
    for make in MAKERS:
        key = fresh()
        with server.client() as client:
            before = census(client)
            (server.folder / "die").touch()
            with pytest.raises(httpx.TransportError):
                make(client, key)
        assert server.process.wait() == -signal.SIGKILL
        (server.folder / "die").unlink()
        server.start()
        with server.client() as client:
            made = census(client)
            assert sum(made.values()) > sum(before.values()), f"{make.__name__} made nothing before the kill"
            answer = make(client, key)
            assert answer.status_code == 200, answer.text
            assert census(client) == made
            assert make(client, key).content == answer.content
            if "key" in answer.json():
                with server.client(answer.json()["key"]) as owner:
                    assert owner.get(f"{API}/user/profile").status_code == 200
    assert server.process.stop() == 0


def test_a_store_that_is_away(tmp_path: Path) -> None:
    """503 as for any write, and nothing is done; when the store is back, the same key makes one object."""
    server = StoredServer(tmp_path / "server")
    key, file = fresh(), Path(server.store_url.removeprefix("sqlite:///"))
    try:
        with server.client() as client:
            assert client.get(CONVERSATIONS).status_code == 200
            file.rename(file.with_suffix(".away"))
            refused = make_conversation(client, key)
            assert refused.status_code == 503
            assert refused.json()["error"]["code"] == "storage_unavailable"
            file.with_suffix(".away").rename(file)
            made = make_conversation(client, key)
            assert made.status_code == 200
            assert [c["id"] for c in client.get(CONVERSATIONS).json()["data"]] == [made.json()["id"]]
    finally:
        server.process.kill_if_running()


def test_a_request_under_way_elsewhere(dying_server: StoredServer) -> None:
    """While another server may still be at it, the second request is told to come again, and when."""
    server, key = dying_server, fresh()
    with server.client() as client:
        (server.folder / "die").touch()
        with pytest.raises(httpx.TransportError):
            make_conversation(client, key)
    server.process.wait()
    (server.folder / "die").unlink()
    text = (server.folder / "dying.py").read_text().replace("seconds=1", "seconds=60")
    (server.folder / "dying.py").write_text(text)
    server.start()
    with server.client() as client:
        told = make_conversation(client, key)
        assert told.status_code == 409
        assert told.json()["error"]["code"] == "idempotency_in_progress"
        assert told.headers["x-should-retry"] == "true"
        assert 1 <= int(told.headers["retry-after"]) <= 60
        assert int(told.headers["retry-after-ms"]) == 1000 * int(told.headers["retry-after"])
        assert make_conversation(client, fresh()).status_code == 200
    assert server.process.stop() == 0


def test_a_client_that_leaves_finds_its_answer(start_server: Callable[[str], ServerProcess]) -> None:
    """A request whose client hangs up right after sending it is carried out, once."""
    server = start_server("models: [{id: echo, engine: echo}]\ndata: data")
    headers, key = bearer(server.admin_key), fresh()
    body = b'{"title": "Once"}'
    lines = (f"{name}: {value}" for name, value in (headers | key).items())
    sent = request("POST", CONVERSATIONS, *lines, f"Content-Length: {len(body)}", body=body)
    for _ in range(5):
        with connect(server.url) as connection:
            connection.sendall(sent)
    with httpx.Client(base_url=server.url, headers=headers, timeout=60, trust_env=False) as client:
        answer = client.post(CONVERSATIONS, content=body, headers=key)
        assert answer.status_code == 200, answer.text
        assert [c["id"] for c in client.get(CONVERSATIONS).json()["data"]] == [answer.json()["id"]]
