"""Chat completions that talk in a stored conversation, on both backends."""

import json
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest
from support.conversation import (
    CHAT,
    CONVERSATIONS,
    FAILING_CHAT,
    NOWHERE,
    StoredServer,
    append,
    bearer,
    chat,
    messages_of,
    new_conversation,
)

HELLO = [{"role": "user", "content": "hello"}]


def events_of(response: httpx.Response) -> list[Any]:
    """The events of a stream, without its end."""
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def said(messages: list[Any]) -> list[tuple[str, str]]:
    return [(m["role"], m["content"]) for m in messages]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it does not come to pass"
        time.sleep(0.05)


def test_a_turn_is_stored(me: httpx.Client) -> None:
    """The question and the answer are in the conversation, the answer with model, usage and reason; the
    response says where."""
    made = new_conversation(me)
    answer = chat(me, made, "one two three")
    question, stored = messages_of(me, made)
    assert said([question, stored]) == [("user", "one two three"), ("assistant", "one two three")]
    assert stored["status"] == "complete"
    assert (stored["model"], stored["finish_reason"]) == ("echo", "stop")
    assert stored["usage"] == answer.json()["usage"]
    assert answer.json()["conversation"] == {
        "id": made,
        "message_id": stored["id"],
        "parent_message_id": question["id"],
    }
    assert answer.headers["x-jan-message-id"] == stored["id"]
    assert stored["parent_id"] == question["id"]


def test_a_streamed_turn_is_stored_alike(me: httpx.Client) -> None:
    """The first chunk and a header say where the answer is; by its last chunk it is there, with the usage
    that the client did not ask for."""
    made = new_conversation(me)
    answer = chat(me, made, "one two three", stream=True)
    events = events_of(answer)
    question, stored = messages_of(me, made)
    place = {"id": made, "message_id": stored["id"], "parent_message_id": question["id"]}
    assert events[0]["conversation"] == place
    assert not any("conversation" in event or "usage" in event for event in events[1:])
    assert answer.headers["x-jan-message-id"] == stored["id"]
    text = "".join(c["delta"].get("content", "") for e in events for c in e["choices"])
    assert (text, stored["content"], stored["status"]) == ("one two three", "one two three", "complete")
    assert (stored["usage"]["prompt_tokens"], stored["usage"]["completion_tokens"]) == (3, 3)


def test_the_model_gets_the_history(me: httpx.Client) -> None:
    """The path from the root, then the new messages: each word of them counts in the prompt."""
    made = new_conversation(me)
    append(me, made, "be brief", "system")
    chat(me, made, "one two three")
    answer = chat(me, made, "four five").json()
    assert answer["usage"]["prompt_tokens"] == 2 + 3 + 3 + 2
    assert [m["role"] for m in messages_of(me, made)] == ["system", "user", "assistant", "user", "assistant"]


def test_what_a_model_has_no_use_for_is_named_once(me: httpx.Client) -> None:
    """With the request that brings it: a name, which is not stored, and reasoning, which is."""
    made = new_conversation(me)
    messages = [{"role": "assistant", "content": "a", "reasoning": "b"}, {**HELLO[0], "name": "ada"}]
    body = {"model": "echo", "conversation_id": made, "messages": messages}
    assert me.post(CHAT, json=body).headers["x-jan-ignored"] == "messages[0].reasoning, messages[1].name"
    assert [m.get("reasoning_content") for m in messages_of(me, made)] == ["b", None, None]
    assert "x-jan-ignored" not in chat(me, made, "again").headers
    again = me.post(CHAT, json={**body, "messages": messages[1:]})
    assert again.headers["x-jan-ignored"] == "messages[0].name"


def test_the_older_form_of_calls_is_not_stored(me: httpx.Client) -> None:
    """It is refused by name, as its results are, and stores nothing."""
    made = new_conversation(me)
    old = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
    body = {"model": "echo", "conversation_id": made, "messages": [*HELLO, old, *HELLO]}
    refused = me.post(CHAT, json=body)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "messages")
    assert messages_of(me, made) == []


def test_several_messages_are_all_stored(me: httpx.Client) -> None:
    """Whatever the request's messages are, they are appended in order."""
    made = new_conversation(me)
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "42", "tool_call_id": "call_1"},
    ]
    body = {"model": "echo", "conversation_id": made, "messages": messages}
    assert me.post(CHAT, json=body).status_code == 200
    stored = messages_of(me, made)
    assert [{k: m[k] for k in sent} for m, sent in zip(stored, messages, strict=False)] == messages
    assert said(stored[4:]) == [("assistant", "42")]


def test_a_branch_and_another_answer(me: httpx.Client) -> None:
    """parent_message_id goes on from an earlier message; with no messages that message is answered again;
    null begins at the root. Nothing is overwritten, and the model sees its own branch only."""
    made = new_conversation(me)
    first = chat(me, made, "one two").json()["conversation"]
    chat(me, made, "three four five")
    before = messages_of(me, made)
    again = chat(me, made, parent_message_id=first["parent_message_id"]).json()
    assert again["choices"][0]["message"]["content"] == "one two"
    assert again["usage"]["prompt_tokens"] == 2
    edited = chat(me, made, "six", parent_message_id=first["message_id"]).json()
    assert edited["usage"]["prompt_tokens"] == 2 + 2 + 1
    root = chat(me, made, "seven", parent_message_id=None).json()
    assert root["usage"]["prompt_tokens"] == 1
    stored = messages_of(me, made)
    assert stored[:4] == before
    parents = {m["id"]: m["parent_id"] for m in stored}
    assert parents[again["conversation"]["message_id"]] == first["parent_message_id"]
    assert parents[edited["conversation"]["parent_message_id"]] == first["message_id"]
    assert parents[root["conversation"]["parent_message_id"]] is None
    assert len(stored) == 4 + 1 + 2 + 2


def test_a_repeated_request_stores_its_messages_once(me: httpx.Client) -> None:
    """With message_id a client that did not hear the answer can ask again: another answer to one question."""
    made, own = new_conversation(me), str(uuid4())
    for _ in range(2):
        chat(me, made, "context", "question", message_id=own)
    stored = messages_of(me, made)
    assert said(stored) == [
        ("user", "context"),
        ("user", "question"),
        ("assistant", "question"),
        ("assistant", "question"),
    ]
    assert stored[1]["id"] == stored[2]["parent_id"] == stored[3]["parent_id"] == own


def test_the_first_exchange_gives_the_title(me: httpx.Client) -> None:
    """As with appended messages; a title that was given stays."""
    made, titled = new_conversation(me), new_conversation(me, title="mine")
    for conversation in (made, titled):
        chat(me, conversation, "How do I grow tomatoes?")
        chat(me, conversation, "And when?")
    titles = [me.get(f"{CONVERSATIONS}/{c}").json()["title"] for c in (made, titled)]
    assert titles == ["How do I grow tomatoes?", "mine"]


def test_a_client_that_leaves_keeps_the_partial_answer(me: httpx.Client) -> None:
    """The text generated until then stays, marked partial, and the conversation continues from it."""
    made, text = new_conversation(me), " ".join(f"word{number}" for number in range(500))
    body = {"model": "slow", "conversation_id": made, "stream": True, "messages": [{"role": "user"}]}
    body["messages"] = [{"role": "user", "content": text}]
    with me.stream("POST", CHAT, json=body) as response:
        heard = 0
        for line in response.iter_lines():
            heard += line.startswith("data: ")
            if heard == 5:
                break
    wait_for(lambda: messages_of(me, made)[1]["status"] == "partial")
    stored = messages_of(me, made)[1]
    assert stored["content"]
    assert text.startswith(stored["content"])
    assert stored["content"] != text
    assert (stored["finish_reason"], stored["usage"]) == (None, None)
    following = chat(me, made, "go on")
    assert following.json()["usage"]["prompt_tokens"] == 500 + len(stored["content"].split()) + 2


def test_an_answer_is_saved_while_it_is_made(me: httpx.Client) -> None:
    """A reader sees a streaming answer grow before it is complete."""
    made, text = new_conversation(me), " ".join(f"word{number}" for number in range(150))
    body = {"model": "slow", "conversation_id": made, "stream": True}
    with me.stream("POST", CHAT, json=body | {"messages": [{"role": "user", "content": text}]}) as response:
        assert response.status_code == 200
        wait_for(lambda: bool(messages_of(me, made)[1]["content"]))
        growing = messages_of(me, made)[1]
        response.read()
    assert growing["status"] == "streaming"
    assert text.startswith(growing["content"])
    assert growing["content"] != text
    stored = messages_of(me, made)[1]
    assert (stored["status"], stored["content"]) == ("complete", text)


@pytest.mark.parametrize("stream", [True, False])
def test_a_model_that_fails_leaves_the_partial_answer(me: httpx.Client, stream: bool) -> None:
    """The client hears of the failure, and what there was of the answer is kept, marked partial."""
    made = new_conversation(me)
    text = " ".join(f"word{number}" for number in range(100))
    body = {"model": "slow", "conversation_id": made, "stream": stream}
    answer = me.post(FAILING_CHAT, json=body | {"messages": [{"role": "user", "content": text}]})
    if stream:
        assert answer.text.rstrip().splitlines()[-1].startswith('data: {"error"')
    else:
        assert answer.status_code == 500
    wait_for(lambda: messages_of(me, made)[1]["status"] == "partial")
    stored = messages_of(me, made)[1]
    assert stored["content"]
    assert text.startswith(stored["content"])


def test_a_deleted_conversation_does_not_end_the_answer(me: httpx.Client) -> None:
    """Who deletes a conversation while it is answered still hears the answer, and it stays deleted."""
    made = new_conversation(me)
    body = {"model": "slow", "conversation_id": made, "stream": True}
    messages = [{"role": "user", "content": "word " * 60}]
    with me.stream("POST", CHAT, json=body | {"messages": messages}) as response:
        me.delete(f"{CONVERSATIONS}/{made}")
        assert response.read().endswith(b"data: [DONE]\n\n")
    assert me.get(f"{CONVERSATIONS}/{made}").status_code == 404


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"n": 2}, 400, "n"),
        ({"top_logprobs": 2}, 400, "top_logprobs"),
        ({"model": "nobody"}, 404, "model"),
        ({"conversation_id": NOWHERE}, 404, "conversation_id"),
        ({"parent_message_id": "msg_1"}, 404, "parent_message_id"),
        ({"messages": []}, 400, "messages"),
        ({"messages": [], "message_id": "client-made-id-0001"}, 400, "message_id"),
        ({"message_id": "short"}, 400, "message_id"),
        ({"messages": [*HELLO, {"role": "function", "name": "f", "content": "x"}]}, 400, "messages"),
        ({"messages": [*HELLO, {"role": "assistant", "content": "x"}]}, 400, "messages"),
        ({"messages": [*HELLO, {"role": "assistant"}]}, 400, "messages"),
    ],
)
def test_what_is_wrong_stores_nothing(me: httpx.Client, fields: Any, status: int, param: str) -> None:
    """A request that can never be served is refused before any of its messages is stored."""
    made = new_conversation(me)
    body = {"model": "echo", "conversation_id": made, "messages": HELLO}
    answer = me.post(CHAT, json=body | fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)
    assert messages_of(me, made) == []


def test_another_users_conversation_is_not_there(me: httpx.Client, somebody: httpx.Client) -> None:
    """404, like one that never was; a message of another's conversation is no parent either."""
    made, theirs = new_conversation(me), new_conversation(somebody)
    append(me, made, "mine")
    answer = chat(somebody, made, "hello")
    assert (answer.status_code, answer.json()["error"]["param"]) == (404, "conversation_id")
    parent = messages_of(me, made)[0]["id"]
    answer = chat(somebody, theirs, "hello", parent_message_id=parent)
    assert (answer.status_code, answer.json()["error"]["param"]) == (404, "parent_message_id")
    assert len(messages_of(me, made)) == 1


def test_permissions(stored_server: StoredServer, me: httpx.Client) -> None:
    """A conversation needs read and write besides inference: 403 names the one that is missing, no
    credentials are 401, though the same chat without a conversation is open to them."""
    made = new_conversation(me)
    body = {"model": "echo", "conversation_id": made, "messages": HELLO}
    for missing, has in (("read", ("write",)), ("write", ("read",))):
        key = stored_server.add_user("inference", *has)
        refused = me.post(CHAT, json=body, headers=bearer(key))
        assert refused.status_code == 403
        assert f"'{missing}'" in refused.json()["error"]["message"]
    del me.headers["Authorization"]
    assert me.post(CHAT, json=body).status_code == 401
    assert me.post(CHAT, json={"model": "echo", "messages": HELLO}).status_code == 200
