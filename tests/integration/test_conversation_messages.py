"""The messages of conversations through HTTP, on both backends."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import httpx
import pytest
from support.conversation import (
    CHAT,
    CONVERSATIONS,
    StoredServer,
    append,
    chat,
    messages_of,
    new_conversation,
    pages,
)
from support.lean_http import lean_client


def test_messages_page_in_both_orders(me: httpx.Client) -> None:
    """Every message once, in order, in pages of any size, from either end."""
    made = new_conversation(me)
    sent = [append(me, made, f"number {number}")["id"] for number in range(7)]
    url = f"{CONVERSATIONS}/{made}/messages"
    for limit in (1, 3, 7, 500):
        assert [m["id"] for page in pages(me, url, limit=limit) for m in page] == sent
        assert [m["id"] for page in pages(me, url, limit=limit, order="desc") for m in page] == sent[::-1]


def test_a_long_history_is_cut_and_says_where_it_goes_on(me: httpx.Client) -> None:
    """GET of a conversation has its newest messages; its cursor leads to the older ones, none twice."""
    made = new_conversation(me)
    sent = [append(me, made, f"number {number}")["id"] for number in range(5)]
    got = me.get(f"{CONVERSATIONS}/{made}", params={"limit": 2}).json()
    newest = got["messages"]
    assert (got["message_count"], got["head_id"]) == (5, sent[-1])
    assert [m["id"] for m in newest["data"]] == sent[3:]
    assert newest["has_more"]
    older = me.get(
        f"{CONVERSATIONS}/{made}/messages", params={"order": "desc", "cursor": newest["next_cursor"]}
    ).json()
    assert [m["id"] for m in older["data"]] == sent[2::-1]


def test_a_message_is_stored_as_sent(me: httpx.Client) -> None:
    """Roles, parts, tool calls and their answers come back as they were; so do odd characters."""
    made = new_conversation(me)
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "$where": "a.b"}}
    sent: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "what is \0 this? 🌱"}, image]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "2", "tool_call_id": "call_1"},
    ]
    sent[2]["reasoning_content"] = "Let me count."
    for body in sent:
        assert me.post(f"{CONVERSATIONS}/{made}/messages", json=body).status_code == 200
    stored = messages_of(me, made)
    assert [{k: m[k] for k in body} for m, body in zip(stored, sent, strict=True)] == sent
    assert [m["sequence"] for m in stored] == [1, 2, 3, 4]
    assert [m["parent_id"] for m in stored] == [None, *(m["id"] for m in stored[:-1])]
    assert {m["status"] for m in stored} == {"complete"}


def test_a_branch_overwrites_nothing(me: httpx.Client) -> None:
    """A message below an earlier one is another child of it; null as parent begins another tree."""
    made = new_conversation(me)
    question = append(me, made, "question")["id"]
    answer = append(me, made, "answer", "assistant")["id"]
    other = append(me, made, "other answer", "assistant", parent_id=question)["id"]
    root = append(me, made, "another question", parent_id=None)["id"]
    tree = [(m["id"], m["parent_id"]) for m in messages_of(me, made)]
    assert tree == [(question, None), (answer, question), (other, question), (root, None)]


def test_an_id_makes_a_message_safe_to_repeat(me: httpx.Client) -> None:
    """The same message sent again is stored once and answered alike; another one of its id is 409."""
    made, own = new_conversation(me), str(uuid4())
    first = append(me, made, "hello", id=own)
    append(me, made, "later")
    assert append(me, made, "hello", id=own) == first
    assert [m["content"] for m in messages_of(me, made)] == ["hello", "later"]
    clash = me.post(f"{CONVERSATIONS}/{made}/messages", json={"role": "user", "content": "x", "id": own})
    assert (clash.status_code, clash.json()["error"]["param"]) == (409, "id")


@pytest.mark.parametrize(
    ("content", "title"),
    [
        ("  How do I\n grow tomatoes? ", "How do I grow tomatoes?"),
        ("word " * 40, "word word word word word word word word word word word word…"),
        ("x" * 300, "x" * 60 + "…"),
        ([{"type": "text", "text": "See"}, {"type": "text", "text": "this"}], "See this"),
        ("# Hello\n\nSome *text*, ***both***", "Hello Some text, both"),
        ("> - [ ] **Buy [tea](https://tea.example/a?b=1)** and ~~`milk`~~", "[ ] Buy tea and milk"),
        ("```python\nprint(1)\n```", "print(1)"),
        ("What do C# and __init__ do with 2 * 3 * 4, *.py?", "What do C# and __init__ do with 2 * 3 * 4, *.py?"),
        ("***", "***"),
    ],
)
def test_the_first_user_message_gives_the_title(me: httpx.Client, content: Any, title: str) -> None:
    """Not instructions before it, nor messages after it, nor marks; a long text is cut between words."""
    made = new_conversation(me)
    append(me, made, "Be brief.", "system")
    append(me, made, content)
    append(me, made, "more")
    assert me.get(f"{CONVERSATIONS}/{made}").json()["title"] == title


def test_a_given_title_stays(me: httpx.Client) -> None:
    """No message changes a title that somebody chose."""
    made = new_conversation(me, title="mine")
    append(me, made, "hello")
    assert me.get(f"{CONVERSATIONS}/{made}").json()["title"] == "mine"


def test_export_and_import_give_the_same_conversation(me: httpx.Client, somebody: httpx.Client) -> None:
    """Another user's copy of an export equals the original but for identifiers, and its export too."""
    made = new_conversation(me, title="a tree", model="echo", metadata={"k": "v"})
    chat(me, made, "one two")
    first = append(me, made, "first")["id"]
    for number in range(250):
        append(me, made, f"number {number}", parent_id=first)
    exported = me.get(f"{CONVERSATIONS}/{made}/export")
    assert exported.headers["content-type"] == "application/jsonl"
    headers = {"Content-Type": "application/jsonl"}
    copied = somebody.post(f"{CONVERSATIONS}/import", content=exported.content, headers=headers)
    assert copied.status_code == 200, copied.text
    again = somebody.get(f"{CONVERSATIONS}/{copied.json()['id']}/export")
    assert nameless(again.text) == nameless(exported.text)
    assert [m["content"] for m in messages_of(somebody, copied.json()["id"])] == [
        m["content"] for m in messages_of(me, made)
    ]
    assert chat(somebody, copied.json()["id"], "and on").status_code == 200


def test_an_export_says_what_messages_say_as_items(me: httpx.Client) -> None:
    """In order, whatever the message; and an export of version 1 gives the same conversation."""
    made = new_conversation(me)
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    custom = {"id": "call_2", "type": "custom", "custom": {"name": "g", "input": "x"}}
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    question: list[dict[str, Any]] = [
        {"role": "user", "content": [image]},
        {"role": "assistant", "content": "Hm.", "reasoning": "Think.", "tool_calls": [call, custom]},
        {"role": "tool", "content": "2", "tool_call_id": "call_1"},
        {"role": "tool", "content": [{"type": "text", "text": "3"}], "tool_call_id": "call_2"},
    ]
    me.post(CHAT, json={"model": "echo", "conversation_id": made, "messages": question[1:]})
    me.post(f"{CONVERSATIONS}/{made}/messages", json={**question[0], "parent_id": None})
    lines = [json.loads(line) for line in me.get(f"{CONVERSATIONS}/{made}/export").text.splitlines()]
    assert (lines[0]["version"], [line["items"] for line in lines[1:]]) == (
        2,
        [
            [
                {"type": "reasoning", "text": "Think."},
                {"type": "text", "text": "Hm."},
                {"type": "call", "id": "call_1", "name": "f", "arguments": "{}"},
                {"type": "custom_call", "id": "call_2", "name": "g", "input": "x"},
            ],
            [{"type": "result", "call_id": "call_1", "output": "2"}],
            [{"type": "result", "call_id": "call_2", "output": [{"type": "text", "text": "3"}]}],
            [{"type": "text", "text": "3"}],
            [{"type": "parts", "parts": [image]}],
        ],
    )
    shown = messages_of(me, made)
    first = {name: value for name, value in lines[0].items() if name != "version"}
    for message in shown:
        message.pop("reasoning_content", None)
    text = "\n".join(map(json.dumps, [first, *shown]))
    copied = me.post(f"{CONVERSATIONS}/import", content=text)
    assert copied.status_code == 200, copied.text
    said = ("role", "content", "tool_calls", "tool_call_id")
    copies = messages_of(me, copied.json()["id"])
    assert [[m[name] for name in said] for m in copies] == [[m[name] for name in said] for m in shown]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"items": [{"type": "citation"}]}, "[1].items[0].type"),
        ({"items": [{"type": "text", "text": "x", "more": 1}]}, "[1].items[0].more"),
        ({"items": [{"type": "reasoning", "text": "x"}, {"type": "text", "text": "y"}]}, "reasoning_content"),
        ({"items": [{"type": "result", "call_id": "1", "output": "x"}]}, "tool_call_id"),
        ({"items": []}, "content"),
        ({"content": "both"}, "[1].items"),
    ],
    ids=["unknown type", "unknown field", "reasoning of a user", "result of a user", "nothing", "both versions"],
)
def test_items_that_a_message_cannot_have_are_refused(me: httpx.Client, change: Any, param: str) -> None:
    """400 that names what is wrong; nothing is imported."""
    made = new_conversation(me)
    append(me, made, "hello")
    first, message = me.get(f"{CONVERSATIONS}/{made}/export").text.splitlines()
    text = f"{first}\n{json.dumps(json.loads(message) | change)}"
    refused = me.post(f"{CONVERSATIONS}/import", content=text)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)
    newer = f"{json.dumps(json.loads(first) | {'version': 3})}\n{message}"
    unknown = me.post(f"{CONVERSATIONS}/import", content=newer)
    assert (unknown.status_code, unknown.json()["error"]["param"]) == (400, "[0].version")
    assert len(me.get(CONVERSATIONS).json()["data"]) == 1


def nameless(exported: str) -> list[Any]:
    """The lines of an export with every identifier replaced by where it first occurs."""
    names: dict[str, int] = {}
    lines = [json.loads(line) for line in exported.splitlines()]
    for line in lines:
        for field in ("id", "conversation_id", "parent_id", "head_id"):
            if line.get(field):
                line[field] = names.setdefault(line[field], len(names)) if field != "head_id" else None
    return lines


def test_fifty_clients_append_at_once(stored_server: StoredServer, me: httpx.Client) -> None:
    """Every message of 50 clients is there once, numbered without gaps, in one valid chain, titled by the
    first of them."""
    made = new_conversation(me)
    url = f"{stored_server.process.url}{CONVERSATIONS}/{made}/messages"
    headers = {"Authorization": me.headers["Authorization"]}

    async def one(client: httpx.AsyncClient, number: int) -> list[str]:
        sent = []
        for turn in range(2):
            answer = await client.post(url, json={"role": "user", "content": f"client {number} turn {turn}"})
            assert answer.status_code == 200, answer.text
            sent.append(answer.json()["id"])
        return sent

    async def all_of_them() -> list[list[str]]:
        async with lean_client("", headers) as client:
            return await asyncio.gather(*(one(client, number) for number in range(50)))

    told = asyncio.run(all_of_them())
    stored = messages_of(me, made)
    ids = [m["id"] for m in stored]
    assert sorted(ids) == sorted(message for sent in told for message in sent)
    assert [m["sequence"] for m in stored] == list(range(1, 101))
    assert [m["parent_id"] for m in stored] == [None, *ids[:-1]]
    assert all(ids.index(first) < ids.index(second) for first, second in told)
    assert me.get(f"{CONVERSATIONS}/{made}").json()["title"] == stored[0]["content"]
