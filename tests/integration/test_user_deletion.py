"""A user is deleted with all that is theirs, by an administrator or by themselves, but the last administrator."""

import asyncio
import json
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.conversation import API, CHAT, CONVERSATIONS, StoredServer, append, bearer, chat, new_conversation
from support.ended import UnderWay, asked

from jan.errors import Conflict, NotFound
from jan.idempotency.ids import IdSource
from jan.people.keys import parse_scopes
from jan.schema.scopes import ADMIN_SCOPES
from jan.storage.records import User
from jan.testing import ThreadServer, served

PROFILE = f"{API}/user/profile"
USERS = f"{API}/users"


@pytest.fixture
def admin(stored_server: StoredServer) -> Iterator[httpx.Client]:
    with stored_server.client() as client:
        yield client


def profile(client: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get(PROFILE).json()
    return found


def test_an_administrator_deletes_a_user(admin: httpx.Client, me: httpx.Client, somebody: httpx.Client) -> None:
    """Credentials are refused, what runs ends, nobody finds the user and their conversations, and the address is
    free. The audit keeps what they did; others keep all of theirs."""
    who, kept = profile(me), new_conversation(somebody, title="kept")
    conversation = new_conversation(me)
    append(me, conversation, "hello")
    chat(me, conversation, "and again").raise_for_status()
    # Repeats its question, which takes it many times as long as the deletion.
    question = [{"role": "user", "content": "word " * 2000}]
    running = UnderWay(me, "POST", CHAT, json=asked(messages=question))
    assert running.begun.wait(60)
    deleted = admin.delete(f"{USERS}/{who['id']}")
    assert deleted.json() == {"id": who["id"], "object": "user.deleted", "deleted": True}
    assert running.error["code"] == "invalid_api_key"
    for path in (PROFILE, CONVERSATIONS, f"{CONVERSATIONS}/{conversation}"):
        assert me.get(path).status_code == 401
    for call in (admin.get, admin.delete):
        assert call(f"{USERS}/{who['id']}").status_code == 404
    assert admin.patch(f"{USERS}/{who['id']}", json={"disabled": False}).status_code == 404
    assert admin.get(f"{API}/usage", params={"user_id": who["id"]}).status_code == 404
    assert who["id"] not in admin.get(USERS, params={"limit": 500}).text
    assert admin.post(USERS, json={"email": who["email"]}).json()["id"] != who["id"]
    [entry] = admin.get(f"{API}/audit", params={"act": "user.deleted", "user_id": who["id"]}).json()["data"]
    assert (entry["target"], entry["actor"]) == (who["id"], profile(admin)["id"])
    assert somebody.get(f"{CONVERSATIONS}/{kept}").json()["title"] == "kept"


def test_people_delete_their_own_account(stored_server: StoredServer, me: httpx.Client) -> None:
    """With a credential that can do all that a session can, and no weaker one. The answer arrives."""
    who = profile(me)
    weak = me.post(f"{API}/user/api-keys", json={"name": "weak", "permissions": ["keys", "write"]}).json()
    with stored_server.client(weak["key"]) as client:
        refused = client.delete(PROFILE)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "insufficient_permissions")
    assert profile(me) == who
    assert me.delete(PROFILE).json()["id"] == who["id"]
    for key in (weak["key"], me.headers["Authorization"][7:]):
        refused = me.get(PROFILE, headers=bearer(key))
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")


# --- administrators ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadServer]:
    with served() as server:
        yield server
        assert server.errors == []


def another_administrator(server: ThreadServer) -> tuple[str, httpx.Client]:
    """Return the id of a new administrator, and a client with their key."""

    async def make() -> tuple[str, str]:
        services = server.application.services
        user = User(email=f"{secrets.token_hex(6)}@example.org", role="admin")
        made = await services.users.add(user, IdSource())
        key = await services.keys.create(made.id, "key", parse_scopes(ADMIN_SCOPES))
        return made.id, key.secret

    user_id, secret = server.run(make())
    return user_id, server.connect(secret)


def test_what_is_kept_to_be_asked_for_again_is_forgotten(server: ThreadServer) -> None:
    """Answers to requests with an Idempotency-Key, and streams for clients that return."""
    with server.connect(server.add_user()) as me:
        who = profile(me)["id"]
        me.post(CONVERSATIONS, json={}, headers={"Idempotency-Key": secrets.token_hex(16)}).raise_for_status()
        body = {"messages": [{"role": "user", "content": "hello"}], "stream": True, "on_disconnect": "finish"}
        streamed = me.post(CHAT, json={"model": "echo", **body}).text
    stream_id = json.loads(next(line[6:] for line in streamed.splitlines() if line.startswith("data: ")))["id"]
    streams = server.application.services.streams
    with closing(sqlite3.connect(Path(server.application.settings.data) / "jan.db")) as db:
        kept = "SELECT count(*) FROM given_answers WHERE user_id = ?"
        assert db.execute(kept, (who,)).fetchone() == (1,)
        assert streams.find(stream_id, who).ended
        server.admin.delete(f"{USERS}/{who}").raise_for_status()
        assert db.execute(kept, (who,)).fetchone() == (0,)
    with pytest.raises(NotFound):
        streams.find(stream_id, who)


def test_the_last_administrator_stays(server: ThreadServer) -> None:
    """Neither way deletes them, and what they run goes on. One of several can go, and one who is disabled does not
    count as another."""
    me, who = server.admin, profile(server.admin)
    disabled, _ = another_administrator(server)
    me.patch(f"{USERS}/{disabled}", json={"disabled": True}).raise_for_status()
    for path in (PROFILE, f"{USERS}/{who['id']}"):
        refused = me.delete(path)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "last_administrator")
        assert "Make somebody else an administrator first." in refused.json()["error"]["message"]
    assert profile(me) == who
    assert me.delete(f"{USERS}/{disabled}").is_success
    _, other = another_administrator(server)
    assert other.delete(PROFILE).is_success
    assert other.get(PROFILE).status_code == 401
    assert me.delete(PROFILE).status_code == 409


def test_two_administrators_do_not_delete_each_other(server: ThreadServer) -> None:
    """At the same time one of them stays at least, and can still administrate."""
    first, client = another_administrator(server)
    mine = profile(server.admin)["id"]

    async def both() -> list[BaseException | None]:
        deletion = server.application.services.deletion
        return await asyncio.gather(*(deletion.delete(one) for one in (first, mine)), return_exceptions=True)

    outcomes = server.run(both())
    assert any(isinstance(outcome, Conflict) for outcome in outcomes)
    assert all(outcome is None or isinstance(outcome, Conflict) for outcome in outcomes)
    assert any(each.get(USERS).status_code == 200 for each in (client, server.admin))
