"""GET /usage: tokens by day, model and key, durable, the same whichever process is asked."""

import asyncio
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from support.conversation import CHAT, StoredServer, bearer
from support.mongodb import SecantusServer
from support.server import ServerProcess, http_client

from jan.storage import store_from_url

USAGE = "/api/v1/usage"
TODAY = datetime.now(UTC).date
Start = Callable[..., ServerProcess]


def ask(client: httpx.Client, content: str = "one two three", **options: Any) -> None:
    body = {"model": "echo", "messages": [{"role": "user", "content": content}]}
    assert client.post(CHAT, json=body, **options).status_code == 200


def report(client: httpx.Client, **query: str) -> Any:
    answer = client.get(USAGE, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_usage_by_day_model_and_key(stored_server: StoredServer, me: httpx.Client) -> None:
    """A row for each key, with the tokens of all its requests; totals; on every kind of store."""
    second = me.post("/api/v1/user/api-keys", json={"name": "second"}).json()
    for _ in range(3):
        ask(me)
    ask(me, "one", headers=bearer(second["key"]))
    found = report(me)
    rows = {row["api_key_id"]: row for row in found["data"]}
    assert len(rows) == len(found["data"]) == 2
    assert rows[second["id"]] == {
        "day": str(TODAY()),
        "model": "echo",
        "api_key_id": second["id"],
        "requests": 1,
        "prompt_tokens": 1,
        "completion_tokens": 1,
        "cached_tokens": 0,
        "total_tokens": 2,
    }
    assert found["totals"] == {
        "requests": 4,
        "prompt_tokens": 10,
        "completion_tokens": 10,
        "cached_tokens": 0,
        "total_tokens": 20,
    }
    assert found["from"] == str(TODAY() - timedelta(days=29))
    assert found["to"] == str(TODAY())


def test_everybody_sees_their_own(me: httpx.Client, somebody: httpx.Client) -> None:
    """Another user's takes the permission admin."""
    ask(me)
    assert report(somebody)["data"] == []
    mine = report(me)["user_id"]
    assert somebody.get(USAGE, params={"user_id": mine}).status_code == 403
    assert report(me, user_id=mine)["totals"]["requests"] == 1


def test_administrators_see_everybodys(stored_server: StoredServer, me: httpx.Client) -> None:
    """By user id; 404 for nobody's; the anonymous ones' together, without addresses."""
    ask(me)
    mine = report(me)["user_id"]
    with stored_server.client() as admin, http_client(stored_server.process) as stranger:
        before = report(admin, user_id="")["totals"]["requests"]
        ask(stranger)
        assert report(admin, user_id=mine)["totals"]["requests"] == 1
        anonymous = report(admin, user_id="")
        assert anonymous["totals"]["requests"] == before + 1
        assert anonymous["limits"] == []
        assert "127.0.0.1" not in str(anonymous)
        assert admin.get(USAGE, params={"user_id": "user_0"}).status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        {"from": "yesterday"},
        {"from": "2026-02-30"},
        {"to": "2026-13-01"},
        {"from": "2026-02-02", "to": "2026-02-01"},
        {"from": "2020-01-01", "to": "2026-01-01"},
        {"since": "2026-01-01"},
        {"user_id": "x" * 200},
    ],
)
def test_bad_queries_are_refused(me: httpx.Client, query: dict[str, str]) -> None:
    """400 that says what is wrong."""
    refused = me.get(USAGE, params=query)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"]


@pytest.mark.parametrize(
    "query", [{"to": "0001-01-01"}, {"from": "9999-12-31"}, {"from": "0001-01-01", "to": "0001-12-31"}]
)
def test_the_ends_of_the_calendar(me: httpx.Client, query: dict[str, str]) -> None:
    """Nothing was used then."""
    ask(me)
    assert report(me, **query)["data"] == []


def test_usage_survives_a_restart(stored_server: StoredServer, me: httpx.Client) -> None:
    """SIGTERM right after the answer loses nothing."""
    for _ in range(5):
        ask(me)
    before = report(me)["totals"]
    ask(me)
    assert stored_server.process.stop() == 0
    assert stored_server.process.errors() == []
    stored_server.start()
    with stored_server.client(me.headers["Authorization"].removeprefix("Bearer ")) as again:
        after = report(again)["totals"]
    assert after == {**before, "requests": 6, "prompt_tokens": 18, "completion_tokens": 18, "total_tokens": 36}


def test_limits_are_in_the_report(start_limited: Start) -> None:
    """All of the caller's windows, with what is counted in them; to look does not use up what is looked at."""
    server = start_limited("limits: {user: {tokens_per_minute: 5000}, key: {tokens_per_day: 7000}}")
    with http_client(server, headers=bearer(server.admin_key)) as client:
        ask(client)
        found = report(client)["limits"]
        assert [(limit["name"], limit["unit"], limit["seconds"]) for limit in found] == [
            ("authenticated", "requests", 3600),
            ("inference", "requests", 60),
            ("user_tokens_per_minute", "tokens", 60),
            ("key_tokens_per_day", "tokens", 86400),
        ]
        assert [(limit["limit"], limit["used"], limit["remaining"]) for limit in found] == [
            (1000, 2, 998),
            (60, 1, 59),
            (5000, 6, 4994),
            (7000, 6, 6994),
        ]
        for limit in found:
            left = datetime.fromisoformat(limit["resets_at"]) - datetime.now(UTC)
            assert timedelta(0) < left <= timedelta(seconds=limit["seconds"])


def test_two_processes_add_up(start_limited: Start) -> None:
    """Rows written by both are one row for each day, model and key."""
    servers = [start_limited(folder="shared") for _ in range(2)]
    headers = bearer(servers[0].admin_key)
    with http_client(servers[0], headers=headers) as one, http_client(servers[1], headers=headers) as other:
        for client in (one, other, one):
            ask(client)
    assert [server.stop() for server in servers] == [0, 0]
    again = start_limited(folder="shared")
    with http_client(again, headers=headers) as client:
        (row,) = report(client)["data"]
        assert row["requests"] == 3


async def stored_requests(url: str) -> int:
    """How many requests of anonymous callers the store itself has, today or yesterday."""
    store = store_from_url(url)
    await store.open()
    try:
        rows = await store.usage.of("", TODAY() - timedelta(days=1), TODAY())
    finally:
        await store.close()
    return sum(row.requests for row in rows)


def test_an_outage_of_the_store_costs_neither_limits_nor_usage(
    start_limited: Start, own_server: SecantusServer
) -> None:
    """While the database is dead each process counts by itself, says so once, and writes what was used when the
    database is back."""
    storage = f"storage: {{url: '{own_server.url('jan')}'}}"
    server = start_limited(f"{storage}\nlimits: {{inference: 3/minute}}", loses_store=True)
    body = {"model": "echo", "messages": [{"role": "user", "content": "one"}]}
    with http_client(server) as client:
        assert client.post(CHAT, json=body).status_code == 200
        own_server.stop(signal.SIGKILL)
        assert [client.post(CHAT, json=body).status_code for _ in range(5)] == [200, 200, 200, 429, 429]
        own_server.start()
        deadline = time.monotonic() + 60
        while asyncio.run(stored_requests(own_server.url("jan"))) != 4:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert server.stop() == 0  # while the store is there: what waited for it is not lost
    assert len([entry for entry in server.log if "counts limits alone" in entry["event"]]) == 1
