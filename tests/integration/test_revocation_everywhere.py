"""Revocations reach other processes on the same store, of either kind, from a server or from the command line."""

import secrets
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
from support.conversation import API, StoredServer
from support.ended import KEYS, LASTING, UnderWay, all_streamed, streamed
from support.metrics import becomes
from support.mongodb import SecantusServer
from support.patience import until

from jan.testing import ThreadServer, model, served

pytestmark = pytest.mark.slow

# The server in a process of its own runs four of these at once, so that some of ten wait in its queue.
AT_ONE, AT_THE_OTHER = 10, 30
LONG = [{"role": "user", "content": "word " * 1000}]


@pytest.fixture(scope="module")
def second(stored_server: StoredServer) -> Iterator[ThreadServer]:
    """Another server on the same store, in this process."""
    slow = model("slow", step_seconds=0.05, slots=64, **LASTING)
    with served(f"storage: {{url: '{stored_server.store_url}'}}", models=[slow]) as server:
        yield server
        assert server.errors == []


def streams(first: httpx.Client, second: httpx.Client, at_one: int = 1, at_the_other: int = 1) -> list[UnderWay]:
    """Streams of one credential on both servers; all have their headers, and most their first events."""
    return [
        *all_streamed([first] * at_one, messages=LONG),
        *all_streamed([second] * at_the_other),
    ]


def tokens(client: httpx.Client) -> int:
    found: int = client.get(f"{API}/usage").json()["totals"]["completion_tokens"]
    return found


def test_forty_streams_end_with_one_revocation(stored_server: StoredServer, second: ThreadServer) -> None:
    """Those that run and those that wait; what came is charged and nothing after it. Others' streams go on."""
    secret, other = stored_server.add_user(), stored_server.add_user()
    keys = (secret, other, stored_server.key)
    with ExitStack() as clients:
        me, somebody, admin = (clients.enter_context(stored_server.client(key)) for key in keys)
        spare = second.connect(me.post(KEYS, json={"name": "spare"}).json()["key"])
        others = streams(somebody, second.connect(other))
        forty = streams(me, second.connect(secret), AT_ONE, AT_THE_OTHER)
        key_id = next(key["id"] for key in me.get(KEYS).json()["data"] if key["name"] == "test")
        assert me.delete(f"{KEYS}/{key_id}").status_code == 200
        assert {stream.error["code"] for stream in forty} == {"invalid_api_key"}
        for server in (admin, second.connect(stored_server.key)):
            assert becomes(server, 1, "jan_engine_running", model="slow")
        came = sum(stream.words for stream in forty)
        # What one process has not written yet, the other does not see.
        assert until(lambda: tokens(spare) == came)
        assert not any(stream.ended for stream in others)
        user_id = somebody.get(f"{API}/user/profile").json()["id"]
        assert admin.patch(f"{API}/users/{user_id}", json={"disabled": True}).status_code == 200
        assert {stream.error["code"] for stream in others} == {"account_disabled"}


def test_the_command_line_ends_streams(stored_server: StoredServer, second: ThreadServer) -> None:
    """`jan key revoke` and `jan user disable`, in a process that serves nothing."""
    for group, code in (("key", "invalid_api_key"), ("user", "account_disabled")):
        secret = stored_server.add_user()
        with stored_server.client(secret) as me:
            running = streams(me, second.connect(secret))
            if group == "key":
                stored_server.jan("key", "revoke", me.get(KEYS).json()["data"][0]["id"])
            else:
                stored_server.jan("user", "disable", me.get(f"{API}/user/profile").json()["email"])
            assert {stream.error["code"] for stream in running} == {code}


def test_a_store_that_is_away_ends_nothing(own_server: SecantusServer) -> None:
    """Streams go on while it does not answer, and after it is back; then a revocation ends them."""
    url = own_server.url(f"jan_test_{secrets.token_hex(6)}")
    slow = model("slow", step_seconds=0.05, slots=64, **LASTING)
    with served(f"storage: {{url: '{url}', timeout_seconds: 0.5}}", models=[slow]) as server:
        key = server.add_user()
        stream = streamed(server.connect(key))
        own_server.stop()
        assert until(lambda: any("revocations" in record["event"] for record in server.log))
        own_server.start()
        assert until(lambda: server.connect(key).get(f"{API}/user/profile").status_code == 200)
        came = len(stream.body)
        assert until(lambda: len(stream.body) > came)
        found = server.connect(key).get(KEYS).json()["data"][0]
        assert server.connect(key).delete(f"{KEYS}/{found['id']}").is_success
        assert stream.error["code"] == "invalid_api_key"
