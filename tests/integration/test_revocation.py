"""Whatever ends a credential, here or in another process, ends what runs with it, and nothing else."""

import asyncio
import json
import socket
import sqlite3
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.conversation import messages_of, new_conversation
from support.ended import CHAT, KEYS, LASTING, Person, UnderWay, all_streamed, asked, streamed
from support.metrics import becomes
from support.patience import until
from support.raw_http import connect, request

from jan.handler import ADMIN, WRITE, EventStream, Handler, operation
from jan.storage.records import ApiKey
from jan.testing import ThreadServer, model, route, served

pytestmark = pytest.mark.slow

API = "/api/v1"


class Note(msgspec.Struct):
    text: str = ""


@contextmanager
def shown(file: Path) -> Iterator[None]:
    """Show by a file that something is being done."""
    file.touch()
    try:
        yield
    finally:
        file.unlink()


class Lasting(Handler):
    """Work that never ends by itself: of a stream, of what creates, and of an administrator."""

    @operation(summary="Stream for ever", access=WRITE, events=Note)
    async def get(self) -> EventStream:
        """Send a word now and then."""

        async def words() -> Any:
            while True:
                yield Note("word")
                await asyncio.sleep(0.01)

        return EventStream(words())

    @operation(summary="Create for ever", access=WRITE, request=Note, response=Note, creates=True)
    async def post(self, body: Note) -> Note:
        """Show that it has begun, and end only by being cancelled."""
        with shown(Path(body.text)):
            await asyncio.Event().wait()
        return body

    @operation(summary="Administer for ever", access=ADMIN, events=Note)
    async def put(self) -> EventStream:
        """Send a word now and then."""
        return await Lasting.get.__wrapped__(self)  # type: ignore[attr-defined,no-any-return]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ThreadServer, ThreadServer]]:
    """Two servers on one store. Their logs stay free of errors."""
    data = tmp_path_factory.mktemp("revocation")
    slow = model("slow", step_seconds=0.05, slots=64, **LASTING)
    narrow = model("narrow", step_seconds=0.05, slots=1, **LASTING)
    options: Any = {"models": [slow, narrow], "routes": [route("/lasting", Lasting)], "data": data}
    with served(**options) as here, served(**options) as there:
        yield here, there
        assert [*here.errors, *there.errors] == []


# --- what ends a credential -------------------------------------------------------------------------------


def revoke(me: Person, at: ThreadServer) -> None:
    assert at.connect(str(me.session.headers["Authorization"])[7:]).delete(f"{KEYS}/{me.made['id']}").is_success


def revoke_itself(me: Person, at: ThreadServer) -> None:
    assert at.connect(me.made["key"]).delete(f"{KEYS}/{me.made['id']}").is_success


def rotate_at_once(me: Person, at: ThreadServer) -> None:
    """By itself: its successor must arrive."""
    url, body = f"{KEYS}/{me.made['id']}/rotate", {"grace_seconds": 0}
    rotated = at.connect(me.made["key"]).post(url, json=body, headers={"Idempotency-Key": f"rotate_{me.id}"})
    assert rotated.json()["key"].startswith("jan_")


def rotate_with_grace(me: Person, at: ThreadServer) -> None:
    assert (
        at.connect(me.made["key"]).post(f"{KEYS}/{me.made['id']}/rotate", json={"grace_seconds": 0.3}).is_success
    )


def disable(me: Person, at: ThreadServer) -> None:
    assert at.connect(me.here.admin_key).patch(f"{API}/users/{me.id}", json={"disabled": True}).is_success


def delete(me: Person, at: ThreadServer) -> None:
    with sqlite3.connect(Path(at.application.settings.data) / "jan.db") as db:
        db.execute("DELETE FROM users WHERE id = ?", (me.id,))


def log_out(me: Person, at: ThreadServer) -> None:
    assert at.connect(_token(me)).post(f"{API}/auth/logout").is_success


def log_out_everywhere(me: Person, at: ThreadServer) -> None:
    assert at.connect(me.token()).post(f"{API}/auth/logout-everywhere").is_success


def use_a_token_twice(me: Person, at: ThreadServer) -> None:
    client = at.connect(_token(me))
    assert [client.post(f"{API}/auth/refresh").status_code for _ in range(2)] == [200, 401]


def _token(me: Person) -> str:
    return str(me.session.headers["Authorization"]).removeprefix("Bearer ")


ACTS: dict[str, list[Callable[[Person, ThreadServer], None]]] = {
    "key": [revoke, revoke_itself, rotate_at_once, rotate_with_grace, disable, delete],
    "session": [log_out, log_out_everywhere, use_a_token_twice, disable],
}
CASES = [(kind, act, place) for kind, acts in ACTS.items() for act in acts for place in (0, 1)]


def test_what_ends_a_credential_ends_its_streams(servers: tuple[ThreadServer, ThreadServer]) -> None:
    """On the server where it is done, and on the other one. The last event is the error of the 401 that the
    credential gets from now on; the tokens that came are charged, once, and no others; and somebody else's stream
    goes on."""
    here, there = servers
    other, people = Person(here, there), [Person(here, there) for _ in CASES]
    clients = [me.key if kind == "key" else me.session for (kind, _, _), me in zip(CASES, people, strict=True)]
    others, *streams = all_streamed([other.session, *clients])
    for (_, act, place), me in zip(CASES, people, strict=True):
        act(me, servers[place])
    for (kind, act, place), me, client, stream in zip(CASES, people, clients, streams, strict=True):
        name, error = f"{kind} {act.__name__} {place}", stream.error
        refused = client.get(f"{API}/user/profile")
        assert refused.status_code == 401, name
        assert (error["type"], error["code"]) == ("authentication_error", refused.json()["error"]["code"]), name
        assert error["message"].endswith("What ran with these credentials was ended."), name
        assert "[DONE]" not in stream.events, name
        assert until(lambda me=me: me.charged()[0]), name
        assert me.charged() == (1, stream.words), name
    seen = len(others.body)
    assert until(lambda: len(others.body) > seen)
    assert becomes(here.client, 1, "jan_engine_running", model="slow")
    disable(other, there)
    assert others.error["code"] == "account_disabled"


def test_a_key_that_a_key_made_ends_with_it(servers: tuple[ThreadServer, ThreadServer]) -> None:
    """By a revocation with `cascade`; without it, its work goes on."""
    here, there = servers
    me = Person(here, there)
    child = here.connect(me.key_of(me.key)["key"])
    stream = streamed(child)
    revoke(me, there)
    assert streamed(me.session).begun.is_set()
    seen = len(stream.body)
    assert until(lambda: len(stream.body) > seen)
    assert there.connect(_token(me)).delete(f"{KEYS}/{me.made['id']}", params={"cascade": True}).is_success
    assert stream.error["code"] == "invalid_api_key"
    disable(me, here)


def test_a_key_that_is_made_while_its_maker_is_revoked(
    servers: tuple[ThreadServer, ThreadServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However late the store gets it, it does not outlive a revocation with `cascade`."""
    here, there = servers
    me = Person(here, there)
    store = here.application.services.keys._store
    create, waits, may_go_on = store.keys.create, threading.Event(), threading.Event()

    async def late(key: ApiKey) -> None:
        waits.set()
        await asyncio.to_thread(may_go_on.wait, 60)
        await create(key)

    monkeypatch.setattr(store.keys, "create", late)
    made = UnderWay(me.key, "POST", KEYS, json={"name": "late"})
    assert waits.wait(60)
    assert there.connect(_token(me)).delete(f"{KEYS}/{me.made['id']}", params={"cascade": True}).is_success
    may_go_on.set()
    made.all()
    assert made.status in (401, 403)
    keys = me.session.get(KEYS).json()["data"]
    assert [key["name"] for key in keys if key["revoked_at"] is None] == []


def test_what_began_before_a_key_expires_goes_on(servers: tuple[ThreadServer, ThreadServer]) -> None:
    """The key is refused from then on, but its answer is not ended when others are."""
    here, there = servers
    me, other = Person(here, there), Person(here, there)
    stream, others = all_streamed([me.key, other.key])
    past = "2026-01-01T00:00:00Z"
    with sqlite3.connect(Path(here.application.settings.data) / "jan.db") as db:
        changed = "UPDATE api_keys SET doc = json_set(doc, '$.expires_at', ?) WHERE id = ?"
        assert db.execute(changed, (past, me.made["id"])).rowcount == 1
    assert until(lambda: me.key.get(f"{API}/user/profile").status_code == 401)
    revoke(other, there)
    assert others.error["code"] == "invalid_api_key"
    seen = len(stream.body)
    assert until(lambda: len(stream.body) > seen)
    revoke(me, here)
    assert stream.error["code"] == "invalid_api_key"


# --- what runs --------------------------------------------------------------------------------------------


@pytest.fixture
def me(servers: tuple[ThreadServer, ThreadServer]) -> Person:
    return Person(*servers)


@pytest.mark.parametrize("on_disconnect", ["cancel", "finish"])
def test_a_whole_answer(me: Person, on_disconnect: str) -> None:
    """It is a 401, and charged as far as it was made."""
    answer = UnderWay(me.key, "POST", CHAT, json=asked(stream=False, on_disconnect=on_disconnect))
    beside = streamed(me.session)
    assert until(lambda: beside.body.count(b"content") > 20)
    revoke(me, me.here)
    assert (answer.error["code"], answer.status) == ("invalid_api_key", 401)
    assert until(lambda: me.charged()[1])
    assert me.charged()[0] == 1
    disable(me, me.here)
    assert beside.error["code"] == "account_disabled"
    assert becomes(me.here.client, 0, "jan_engine_running", model="slow")


def test_a_request_in_the_queue(me: Person) -> None:
    """It ends with an error before it has a slot, and is charged nothing."""
    other = Person(me.here, me.there)
    first = streamed(other.key, model="narrow")
    waiting = UnderWay(me.key, "POST", CHAT, json=asked(model="narrow", stream=False))
    assert becomes(me.here.client, 1, "jan_engine_waiting", model="narrow")
    revoke(me, me.here)
    assert (waiting.error["code"], waiting.status) == ("invalid_api_key", 401)
    assert becomes(me.here.client, 0, "jan_engine_waiting", model="narrow")
    assert me.charged() == (0, 0)
    disable(other, me.here)
    assert first.error["code"] == "account_disabled"


def test_a_kept_stream_whose_client_left(me: Person) -> None:
    """It ends although nobody reads it, and who reads it later, with another credential, finds the error."""
    with me.key.stream("POST", CHAT, json=asked(on_disconnect="finish")) as begun:
        first = next(line for line in begun.iter_lines() if line.startswith("data: "))
    reader = UnderWay(me.session, "GET", f"{CHAT}/{json.loads(first[6:])['id']}/events")
    revoke(me, me.here)
    assert reader.error["code"] == "invalid_api_key"
    assert me.charged() == (1, reader.words)


def test_a_reader_of_a_kept_stream(me: Person) -> None:
    """Whose credential ends gets no more of it; the stream goes on for the one that began it."""
    stream = streamed(me.session, on_disconnect="finish")
    began = next(line for line in stream.body.splitlines() if line.startswith(b"data: "))
    reader = UnderWay(me.key, "GET", f"{CHAT}/{json.loads(began[6:])['id']}/events")
    assert until(lambda: b"data: " in reader.body)
    revoke(me, me.here)
    assert reader.error["code"] == "invalid_api_key"
    seen = len(stream.body)
    assert until(lambda: len(stream.body) > seen)
    disable(me, me.here)
    assert stream.error["code"] == "account_disabled"


def test_an_answer_in_a_conversation(me: Person) -> None:
    """What was made is stored as a part."""
    conversation = new_conversation(me.session)
    stream = streamed(me.key, conversation_id=conversation)
    assert until(lambda: stream.body.count(b"content") > 5)
    revoke(me, me.here)
    assert stream.error["code"] == "invalid_api_key"
    assert until(lambda: messages_of(me.session, conversation)[-1]["status"] != "streaming")
    stored = messages_of(me.session, conversation)[-1]
    assert (stored["status"], len(stored["content"].split())) == ("partial", stream.words)


def test_work_that_is_done_once(me: Person, tmp_path: Path) -> None:
    """It is a 401 for its client."""
    begun = tmp_path / "begun"
    headers = {"Idempotency-Key": f"once_{me.id}"}
    work = UnderWay(me.key, "POST", "/lasting", json={"text": str(begun)}, headers=headers)
    assert until(begun.exists)
    revoke(me, me.here)
    assert (work.error["code"], work.status) == ("invalid_api_key", 401)
    assert until(lambda: not begun.exists())


def test_work_that_is_done_once_for_a_client_that_left(me: Person, tmp_path: Path) -> None:
    """It goes on without its client, and ends with its credential."""
    begun = tmp_path / "begun"
    body = json.dumps({"text": str(begun)}).encode()
    headers = (f"Idempotency-Key: once_{me.id}", f"Authorization: {me.key.headers['Authorization']}")
    with connect(me.here.url) as connection:
        connection.sendall(request("POST", "/lasting", *headers, f"Content-Length: {len(body)}", body=body))
        assert until(begun.exists)
    assert becomes(me.here.client, 1, "jan_http_live_requests")  # that of the metrics
    assert begun.exists()
    revoke(me, me.here)
    assert until(lambda: not begun.exists())


def test_a_stream_of_an_endpoint_of_ones_own(me: Person) -> None:
    """Nothing has to be done for it."""
    stream = UnderWay(me.key, "GET", "/lasting")
    assert stream.begun.wait(60)
    revoke(me, me.there)
    assert stream.error["code"] == "invalid_api_key"


@pytest.mark.parametrize("place", ["here", "there"])
def test_permissions_that_are_taken_away(servers: tuple[ThreadServer, ThreadServer], place: str) -> None:
    """What needs them ends, as a refusal would; what does not goes on."""
    here, there = servers
    me = Person(here, there, role="admin")
    stream, ruling = streamed(me.session), UnderWay(me.session, "PUT", "/lasting")
    assert ruling.begun.wait(60)
    at = here if place == "here" else there
    assert at.connect(here.admin_key).patch(f"{API}/users/{me.id}", json={"role": "user"}).is_success
    assert (ruling.error["type"], ruling.error["code"]) == ("permission_error", "insufficient_permissions")
    seen = len(stream.body)
    assert until(lambda: len(stream.body) > seen)
    disable(me, here)
    assert stream.error["code"] == "account_disabled"


def test_a_client_that_reads_nothing(me: Person) -> None:
    """Its slot is free at once, and the server says nothing of an error when it leaves at last."""
    body = json.dumps(asked(messages=[{"role": "user", "content": "x" * 1_000_000}])).encode()
    headers = (f"Authorization: {me.key.headers['Authorization']}", f"Content-Length: {len(body)}")
    with connect(me.here.url) as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.sendall(request("POST", CHAT, *headers, body=body))
        assert becomes(me.here.client, 1, "jan_engine_running", model="slow")
        beside = streamed(me.session)
        assert until(lambda: beside.body.count(b"content") > 20)  # as many megabytes, more than buffers hold
        log_out(me, me.here)
        assert beside.error["code"] == "session_ended"
        revoke_itself(me, me.here)
        assert becomes(me.here.client, 0, "jan_engine_running", model="slow")
        assert becomes(me.here.client, 2, "jan_http_live_requests")  # this one, and that of the metrics
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert becomes(me.here.client, 1, "jan_http_live_requests")
