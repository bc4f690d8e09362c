"""Conversations through HTTP, on both backends."""

import time

import httpx
from support.conversation import (
    CONVERSATIONS,
    StoredServer,
    append,
    new_conversation,
    pages,
)


def test_the_samples_of_the_reference(stored_server: StoredServer) -> None:
    """The reference's three requests, as curl sends them, by somebody with an API key: create, list, get."""
    with stored_server.client(stored_server.add_user("read", "write")) as client:
        made = client.post(
            "/api/v1/conversations",
            headers={"Content-Type": "application/json"},
            content='{\n"title": "My Conversation",\n"model": "jan-v1-4b"\n}',
        ).json()
        listed = client.get("/api/v1/conversations").json()
        got = client.get(f"/api/v1/conversations/{made['id']}").json()
    assert set(made) == {
        "id",
        "object",
        "title",
        "model",
        "metadata",
        "created_at",
        "updated_at",
        "head_id",
        "message_count",
    }
    assert (made["object"], made["title"], made["model"]) == ("conversation", "My Conversation", "jan-v1-4b")
    assert abs(made["created_at"] - time.time()) < 60
    assert listed == {"object": "list", "data": [made], "has_more": False, "next_cursor": None}
    assert got == made | {"messages": {"object": "list", "data": [], "has_more": False, "next_cursor": None}}


def test_an_empty_body_makes_a_conversation(me: httpx.Client) -> None:
    """Title, model and metadata are all optional; null means that a field is left out."""
    made = me.post(CONVERSATIONS, json={"title": None, "model": None, "metadata": None}).json()
    assert (made["title"], made["model"], made["metadata"]) == ("", None, {})


def test_lists_page_without_gaps_or_duplicates(me: httpx.Client) -> None:
    """Newest first, in pages of any size, each conversation once."""
    made = [new_conversation(me, title=f"number {number}") for number in range(7)]
    for limit in (1, 3, 7, 100):
        found = [c["id"] for page in pages(me, CONVERSATIONS, limit=limit) for c in page]
        assert found == made[::-1]


def test_a_change_brings_a_conversation_to_the_front(me: httpx.Client) -> None:
    """The list is by last change: a message or a new title counts."""
    first, second, third = (new_conversation(me) for _ in range(3))
    append(me, first, "hello")
    assert [c["id"] for c in me.get(CONVERSATIONS).json()["data"]] == [first, third, second]
    me.patch(f"{CONVERSATIONS}/{second}", json={"title": "changed"})
    assert [c["id"] for c in me.get(CONVERSATIONS).json()["data"]] == [second, first, third]


def test_search_by_title(me: httpx.Client) -> None:
    """``q`` finds a part of the title whatever its case, and pages like the list; nothing in it is special."""
    for title in ("Growing tomatoes", "TOMATO soup", "100% sure (.*)", "Straße"):
        new_conversation(me, title=title)

    def found(q: str) -> list[str]:
        return [c["title"] for page in pages(me, CONVERSATIONS, q=q, limit=1) for c in page]

    assert found("tomato") == ["TOMATO soup", "Growing tomatoes"]
    assert found("STRASSE") == ["Straße"]
    assert found("(.*)") == ["100% sure (.*)"]
    assert found("%") == ["100% sure (.*)"]
    assert found("nothing like it") == []


def test_patch_sets_what_it_names(me: httpx.Client) -> None:
    """Fields left out stay; metadata is replaced as a whole; null empties; an empty body changes nothing."""
    made = me.post(CONVERSATIONS, json={"title": "a", "model": "m", "metadata": {"k": "v"}}).json()
    url = f"{CONVERSATIONS}/{made['id']}"
    assert me.patch(url, json={}).json() == made
    titled = me.patch(url, json={"title": "b"}).json()
    assert titled == made | {"title": "b", "updated_at": titled["updated_at"]}
    assert me.patch(url, json={"metadata": {"x": "y"}}).json()["metadata"] == {"x": "y"}
    emptied = me.patch(url, json={"title": None, "model": None, "metadata": None}).json()
    assert (emptied["title"], emptied["model"], emptied["metadata"]) == ("", None, {})


def test_delete_is_for_good(me: httpx.Client) -> None:
    """A deleted conversation is gone with its messages, from the list too; deleting it again is 404."""
    made = new_conversation(me)
    append(me, made, "hello")
    gone = me.delete(f"{CONVERSATIONS}/{made}")
    assert gone.json() == {"id": made, "object": "conversation.deleted", "deleted": True}
    assert me.get(f"{CONVERSATIONS}/{made}").status_code == 404
    assert me.get(f"{CONVERSATIONS}/{made}/messages").status_code == 404
    assert me.delete(f"{CONVERSATIONS}/{made}").status_code == 404
    assert me.get(CONVERSATIONS).json()["data"] == []
