"""Links that are made while their conversation, or a message of it, is deleted."""

import asyncio
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from jan.testing import ThreadServer, served

CONVERSATIONS = "/v1/conversations"


@pytest.fixture(scope="module", params=["sqlite", "mongodb"])
def server(request: pytest.FixtureRequest) -> Iterator[ThreadServer]:
    """A server with links on each store."""
    config = "shares: {enabled: true}\n"
    if request.param == "mongodb":
        pytest.importorskip("motor")
        url = request.getfixturevalue("mongodb_url")(f"jan_test_{secrets.token_hex(6)}")
        config += f"storage: {{url: '{url}'}}\n"
    with served(config) as server:
        yield server
        assert server.errors == []


@pytest.fixture
def me(server: ThreadServer) -> httpx.Client:
    return server.connect(server.add_user())


def conversation_of(client: httpx.Client, text: str) -> str:
    """A new conversation with this question, which is its title."""
    body = {"items": [{"role": "user", "content": text}]}
    return str(client.post(CONVERSATIONS, json=body).raise_for_status().json()["id"])


def before_and_after(
    server: ThreadServer,
    monkeypatch: pytest.MonkeyPatch,
    before: Callable[[], object] = lambda: None,
    after: Callable[[], object] = lambda: None,
) -> None:
    """Let something happen right before or after the next links are stored."""
    stored = server.application.services.shares._store.shares
    create = stored.create

    async def late(record: Any) -> None:
        await asyncio.to_thread(before)
        await create(record)
        await asyncio.to_thread(after)

    monkeypatch.setattr(stored, "create", late)


def test_a_title_that_is_deleted_while_a_link_is_made_is_shown_by_none(
    server: ThreadServer, me: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its link is made without it."""
    conversation = conversation_of(me, "canary-question")
    [item] = me.get(f"{CONVERSATIONS}/{conversation}/items").json()["data"]
    path = f"{CONVERSATIONS}/{conversation}/items/{item['id']}"
    before_and_after(server, monkeypatch, before=lambda: me.delete(path).raise_for_status())
    made = me.post(f"{CONVERSATIONS}/{conversation}/shares", json={}).raise_for_status().json()
    shown = server.client.post("/v1/shared", json={"secret": made["secret"]}).raise_for_status()
    assert (made["title"], shown.json()["title"]) == ("", "")
    assert "canary" not in shown.text + me.get("/v1/user/shares").text


def test_no_link_is_made_of_a_conversation_that_is_deleted_meanwhile(
    server: ThreadServer, me: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And none is left in the list."""
    conversation = conversation_of(me, "x")
    path = f"{CONVERSATIONS}/{conversation}"
    before_and_after(server, monkeypatch, after=lambda: me.delete(path).raise_for_status())
    assert me.post(f"{path}/shares", json={}).status_code == 404
    assert me.get("/v1/user/shares").json()["data"] == []
