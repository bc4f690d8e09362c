"""Requests about conversations that are refused, on both backends."""

import json
from typing import Any

import httpx
import pytest
from support.conversation import (
    ALL,
    CHAT,
    CONVERSATIONS,
    NOWHERE,
    StoredServer,
    append,
    bearer,
    messages_of,
    new_conversation,
)

REQUESTS: list[tuple[str, str, Any]] = [
    ("GET", "", None),
    ("PATCH", "", {"title": "x"}),
    ("DELETE", "", None),
    ("GET", "/messages", None),
    ("POST", "/messages", {"role": "user", "content": "x"}),
    ("GET", "/export", None),
]


@pytest.mark.parametrize(("method", "path", "body"), REQUESTS)
def test_another_users_conversation_is_not_there(
    me: httpx.Client, somebody: httpx.Client, method: str, path: str, body: Any
) -> None:
    """Every request to it is answered as if there were none: 404, the same words; and it stays as it was."""
    made = new_conversation(me, title="mine")
    append(me, made, "hello")
    before = me.get(f"{CONVERSATIONS}/{made}").json()
    theirs = somebody.request(method, f"{CONVERSATIONS}/{made}{path}", json=body)
    nobodys = somebody.request(method, f"{CONVERSATIONS}/{NOWHERE}{path}", json=body)
    assert (theirs.status_code, nobodys.status_code) == (404, 404)
    assert theirs.json() == nobodys.json()
    assert somebody.get(CONVERSATIONS).json()["data"] == []
    assert me.get(f"{CONVERSATIONS}/{made}").json() == before


@pytest.mark.parametrize(("method", "path", "body"), [("GET", None, None), ("POST", None, {}), *REQUESTS])
def test_permissions(stored_server: StoredServer, method: str, path: str | None, body: Any) -> None:
    """GET needs read, everything else write; 403 names the one that is missing, no credentials are 401."""
    url = CONVERSATIONS if path is None else f"{CONVERSATIONS}/{NOWHERE}{path}"
    needed = "read" if method == "GET" else "write"
    with stored_server.client() as client:
        del client.headers["Authorization"]
        assert client.request(method, url, json=body).status_code == 401
        lacking = stored_server.add_user(*(scope for scope in ALL if scope != needed))
        refused = client.request(method, url, json=body, headers=bearer(lacking))
        assert refused.status_code == 403
        assert f"'{needed}'" in refused.json()["error"]["message"]
        allowed = client.request(method, url, json=body, headers=bearer(stored_server.add_user(needed)))
        assert allowed.status_code == (200 if path is None else 404)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=many", "limit"),
        ("limit=", "limit"),
        ("limit=1&limit=2", "limit"),
        ("cursor=nonsense", "cursor"),
        ("cursor=%FF", "cursor"),
        ("cursor=", "cursor"),
        (f"q={'x' * 201}", "q"),
        ("page=2", "page"),
    ],
)
def test_wrong_queries(me: httpx.Client, query: str, param: str) -> None:
    """A query parameter that is unknown, repeated or out of bounds is 400 and named."""
    answer = me.get(f"{CONVERSATIONS}?{query}")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize("query", ["limit=501", "order=up", "cursor=-1", "cursor=a", "cursor=1&cursor=2", "q=a"])
def test_wrong_queries_of_messages(me: httpx.Client, query: str) -> None:
    """As with the list of conversations."""
    made = new_conversation(me)
    assert me.get(f"{CONVERSATIONS}/{made}/messages?{query}").status_code == 400


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"titel": "x"}, "titel"),
        ({"title": 1}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"model": "x" * 129}, "model"),
        ({"metadata": {"k": 1}}, "metadata[...]"),
        ({"metadata": {"k" * 65: "v"}}, "metadata"),
        ({"metadata": {"": "v"}}, "metadata"),
        ({"metadata": {"k": "v" * 513}}, "metadata[...]"),
        ({"metadata": {f"k{number}": "v" for number in range(17)}}, "metadata"),
        ([], None),
    ],
)
def test_wrong_conversations(me: httpx.Client, body: Any, param: str | None) -> None:
    """Unknown fields and what is over the limits are 400 and named, in POST and in PATCH."""
    made = new_conversation(me)
    for answer in (me.post(CONVERSATIONS, json=body), me.patch(f"{CONVERSATIONS}/{made}", json=body)):
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_metadata_at_its_limits(me: httpx.Client) -> None:
    """16 pairs, keys of 64 and values of 512 characters are taken, whatever is in them."""
    metadata = {f"{number:02}.$" + "k" * 60: "ä" * 512 for number in range(16)}
    made = me.post(CONVERSATIONS, json={"metadata": metadata}).json()
    assert me.get(f"{CONVERSATIONS}/{made['id']}").json()["metadata"] == metadata


@pytest.mark.parametrize(
    "body",
    [
        {"content": "x"},
        {"role": "user"},
        {"role": "function", "content": "x"},
        {"role": "user", "content": "x", "status": "partial"},
        {"role": "user", "content": "x", "id": "short"},
        {"role": "user", "content": "x", "id": "has a space in it"},
        {"role": "user", "content": "x", "tool_calls": []},
        {"role": "user", "content": [{"type": "text"}]},
        {"role": "tool", "content": "x"},
        {"role": "system", "content": [{"type": "image_url", "image_url": {"url": "x"}}]},
        {"role": "assistant"},
        {"role": "user", "content": [{"type": "file", "file": {"deep": json.loads("[" * 200 + "]" * 200)}}]},
        {"role": "user", "content": "x", "tool_call_id": "x"},
    ],
)
def test_wrong_messages(me: httpx.Client, body: Any) -> None:
    """Content that no model accepts, and fields that clients may not set, are 400. Nothing is stored."""
    made = new_conversation(me)
    assert me.post(f"{CONVERSATIONS}/{made}/messages", json=body).status_code == 400
    assert messages_of(me, made) == []


def test_a_parent_must_be_in_the_conversation(me: httpx.Client) -> None:
    """A parent of another conversation, one's own too, is 404 and named."""
    made, other = new_conversation(me), new_conversation(me)
    elsewhere = append(me, other, "hello")["id"]
    body = {"role": "user", "content": "x", "parent_id": elsewhere}
    answer = me.post(f"{CONVERSATIONS}/{made}/messages", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (404, "parent_id")


USAGE = '"usage":{"prompt_tokens":9223372036854775808,"completion_tokens":0,"total_tokens":0}'


def damaged(lines: list[str]) -> dict[str, str]:
    """An export with one thing wrong, by what that is."""
    head, first, second = lines
    return {
        "nothing": "",
        "no conversation": f"{first}\n",
        "cut short": f"{head}\n{first}\n",
        "cut in a line": "\n".join(lines)[:-5],
        "two conversations": "\n".join([head, *lines]),
        "a message twice": "\n".join([head, first, first]),
        "out of order": "\n".join([head, second, first]),
        "an unknown field": "\n".join([head, first, second.replace('"role"', '"extra":1,"role"')]),
        "an unknown parent": "\n".join([head, first, second.replace('"parent_id":"', '"parent_id":"x')]),
        "a count that no store can hold": "\n".join([head, first, second.replace('"usage":null', USAGE)]),
        "no JSON": "\n".join([head, first, "second"]),
    }


@pytest.mark.parametrize("fault", list(damaged(["", "", ""])))
def test_damaged_exports_are_refused(me: httpx.Client, fault: str) -> None:
    """A file with a fault is 400, and no part of it is imported."""
    made = new_conversation(me)
    for text in ("one", "two"):
        append(me, made, text)
    lines = me.get(f"{CONVERSATIONS}/{made}/export").text.splitlines()
    answer = me.post(f"{CONVERSATIONS}/import", content=damaged(lines)[fault])
    assert answer.status_code == 400, answer.text
    assert [c["id"] for c in me.get(CONVERSATIONS).json()["data"]] == [made]


def test_chat_alone_takes_nothing_of_conversations(me: httpx.Client) -> None:
    """Without conversation_id the fields that go with it are 400, and messages must not be empty."""
    hello = [{"role": "user", "content": "hello"}]
    for fields in ({"messages": []}, {"parent_message_id": "msg_1"}, {"message_id": "client-made-id-0001"}):
        answer = me.post(CHAT, json={"model": "echo", "messages": hello, **fields})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, next(iter(fields)))
