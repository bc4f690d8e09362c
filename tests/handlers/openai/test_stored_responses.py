"""Responses that are stored, and follow stored ones, on both stores."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from support.patience import until

from jan.testing import ThreadServer, served

CALL = '<tool_call>\n{"name": "list_files", "arguments": {"path": "/tmp"}}\n</tool_call>'
MODELS = """
models:
  - {id: echo, engine: echo, options: {tool_format: hermes, reasoning: auto, context: 400}}
  - {id: slow, engine: echo, options: {reasoning: auto, step_seconds: 0.02}}
  - {id: dying, engine: echo, options: {die_word: dies}}
  - {id: dead, engine: echo, options: {die_word: dies}}
"""
TOOL = {
    "type": "function",
    "name": "list_files",
    "parameters": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
}


@pytest.fixture(scope="module")
def server(storage: str) -> Iterator[ThreadServer]:
    """A server in the process of the test, on a store of each kind in turn."""
    with served(MODELS + storage) as found:
        yield found


def send(client: httpx.Client, given: Any, **others: Any) -> dict[str, Any]:
    answer = client.post("/v1/responses", json={"model": "echo", "input": given, **others})
    assert answer.status_code == 200, answer.text
    return answer.json()


def prompt_tokens(response: dict[str, Any]) -> int:
    return int(response["usage"]["input_tokens"])


def test_a_response_is_kept_by_default(client: httpx.Client) -> None:
    made = send(
        client, f"<think>hm</think>look {CALL}", tools=[TOOL], instructions="Be good.", metadata={"a": "b"}
    )
    assert made["store"] is True
    kept = client.get(f"/v1/responses/{made['id']}").json()
    assert {**kept, "completed_at": 0} == {**made, "completed_at": 0}
    assert [item["type"] for item in kept["output"]] == ["reasoning", "message", "function_call"]
    # It is a turn of a conversation, like any other.
    [conversation] = client.get("/api/v1/conversations").json()["data"]
    roles = client.get(f"/api/v1/conversations/{conversation['id']}/messages").json()["data"]
    assert [message["role"] for message in roles] == ["user", "assistant"]


def test_a_streamed_response_is_kept_too(client: httpx.Client) -> None:
    text = client.post("/v1/responses", json={"model": "echo", "input": "one two", "stream": True}).text
    frames = [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]
    ids = {frame["response"]["id"] for frame in frames if "response" in frame}
    assert len(ids) == 1
    kept = client.get(f"/v1/responses/{ids.pop()}").json()
    assert kept["output"] == frames[-1]["response"]["output"]


def test_an_empty_answer_has_an_empty_message(client: httpx.Client) -> None:
    made = send(client, [{"role": "user", "content": ""}])
    body = {"model": "echo", "input": [{"role": "user", "content": ""}], "stream": True}
    text = client.post("/v1/responses", json=body).text
    frames = [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]
    for output in (made["output"], frames[-1]["response"]["output"]):
        assert [item["content"][0]["text"] for item in output] == [""]


def test_a_response_follows_another(client: httpx.Client) -> None:
    first = send(client, "one", instructions="Only for the first one, which is long.")
    second = send(client, "two", previous_response_id=first["id"])
    alone = send(client, "two", store=False)
    with_both = send(
        client,
        [
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "one"},
            {"role": "user", "content": "two"},
        ],
        store=False,
    )
    assert prompt_tokens(alone) < prompt_tokens(second) == prompt_tokens(with_both)
    assert second["previous_response_id"] == first["id"]
    # Two may follow one: they are branches.
    other = send(client, "three", previous_response_id=first["id"])
    assert prompt_tokens(other) == prompt_tokens(second)
    [conversation] = client.get("/api/v1/conversations").json()["data"]
    assert conversation["message_count"] == 6


def test_a_response_can_follow_without_being_kept(client: httpx.Client) -> None:
    first = send(client, "one")
    second = send(client, "two", previous_response_id=first["id"], store=False)
    assert second["store"] is False
    assert prompt_tokens(second) > prompt_tokens(first)
    assert client.get(f"/v1/responses/{second['id']}").status_code == 404


def test_a_call_is_answered_by_the_next_response(client: httpx.Client) -> None:
    first = send(client, CALL, tools=[TOOL])
    call = first["output"][-1]
    given = [{"type": "function_call_output", "call_id": call["call_id"], "output": "a b"}]
    second = send(client, given, previous_response_id=first["id"], tools=[TOOL])
    assert second["status"] == "completed"
    items = client.get(f"/v1/responses/{second['id']}/input_items").json()
    assert [(item["type"], item["output"]) for item in items["data"]] == [("function_call_output", "a b")]


def test_a_conversation_can_be_continued(client: httpx.Client) -> None:
    own = client.post("/api/v1/conversations", json={}).json()["id"]
    first = send(client, "one", conversation=own)
    second = send(client, "two", conversation={"id": own})
    assert first["conversation"] == second["conversation"] == {"id": own}
    assert prompt_tokens(second) > prompt_tokens(first)
    # An answer of a chat is a response too, and a response is what a chat goes on from.
    chat = {"model": "echo", "messages": [{"role": "user", "content": "three"}], "conversation_id": own}
    place = client.post("/v1/chat/completions", json=chat).json()["conversation"]
    shown = client.get(f"/v1/responses/{place['message_id'].replace('msg_', 'resp_')}").json()
    assert shown["output"][0]["content"][0]["text"] == "three"
    assert send(client, "four", previous_response_id=shown["id"])["status"] == "completed"


def test_the_input_is_listed(client: httpx.Client) -> None:
    given = [{"role": "developer", "content": "Be good."}, {"role": "user", "content": "one"}]
    made = send(client, given)
    url = f"/v1/responses/{made['id']}/input_items"
    listed = client.get(url, params={"order": "asc"}).json()
    assert [(item["role"], item["content"][0]["text"]) for item in listed["data"]] == [
        ("developer", "Be good."),
        ("user", "one"),
    ]
    first = client.get(url, params={"limit": 1}).json()
    assert (first["has_more"], first["data"][0]["role"]) == (True, "user")
    rest = client.get(url, params={"after": first["last_id"]}).json()
    assert (rest["has_more"], rest["data"][0]["role"]) == (False, "developer")
    assert client.get(url, params={"after": "msg_none"}).status_code == 400


def test_a_deleted_response_is_gone_and_what_follows_stays(client: httpx.Client) -> None:
    first = send(client, "one")
    second = send(client, "two", previous_response_id=first["id"])
    gone = client.delete(f"/v1/responses/{first['id']}")
    assert gone.json() == {"id": first["id"], "object": "response", "deleted": True}
    assert client.get(f"/v1/responses/{first['id']}").status_code == 404
    assert client.get(f"/v1/responses/{second['id']}").status_code == 200
    [conversation] = client.get("/api/v1/conversations").json()["data"]
    messages = client.get(f"/api/v1/conversations/{conversation['id']}/messages").json()["data"]
    assert [message["content"] for message in messages] == ["", "", "two", "two"]
    assert send(client, "three", previous_response_id=second["id"])["status"] == "completed"


def begun(client: httpx.Client, text: str, then: Callable[[str], bool]) -> str:
    """Stream a response, call ``then`` with its id at its first delta, and leave unless that returns True."""
    body = {"model": "slow", "input": text, "stream": True}
    own = ""
    with client.stream("POST", "/v1/responses", json=body) as answer:
        for line in answer.iter_lines():
            event = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {"type": ""}
            if event["type"] == "response.created":
                own = event["response"]["id"]
            if event["type"].endswith("delta") and own and not then(own):
                break
    return own


def test_a_response_is_deleted_while_it_is_made(client: httpx.Client) -> None:
    deleted: list[httpx.Response] = []

    def delete(own: str) -> bool:
        if not deleted:
            deleted.append(client.delete(f"/v1/responses/{own}"))
        return True

    own = begun(client, "secret " * 30, delete)
    assert deleted[0].status_code == 200
    assert client.get(f"/v1/responses/{own}").status_code == 404
    [conversation] = client.get("/api/v1/conversations").json()["data"]
    messages = client.get(f"/api/v1/conversations/{conversation['id']}/messages").json()["data"]
    assert [(message["content"], message["status"]) for message in messages] == [("", "complete")] * 2


def test_the_reasoning_of_a_left_response_is_kept(client: httpx.Client) -> None:
    own = begun(client, "<think>" + "deep " * 1000 + "</think>", lambda _own: False)
    assert until(lambda: client.get(f"/v1/responses/{own}").json()["status"] != "in_progress")
    kept = client.get(f"/v1/responses/{own}").json()
    assert (kept["status"], kept["completed_at"]) == ("incomplete", None)
    assert [item["type"] for item in kept["output"]] == ["reasoning"]
    assert kept["output"][0]["content"][0]["text"].startswith("deep")
    assert kept["output"][0]["status"] == "incomplete"


@pytest.mark.parametrize(("model", "given"), [("dying", "it dies here"), ("dead", "dies")])
def test_the_reason_of_a_failure_is_kept(client: httpx.Client, model: str, given: str) -> None:
    text = client.post("/v1/responses", json={"model": model, "input": given, "stream": True}).text
    last = json.loads([line for line in text.splitlines() if line.startswith("data: ")][-1][6:])["response"]
    assert (last["status"], last["error"]["code"]) == ("failed", "server_error")
    assert client.get(f"/v1/responses/{last['id']}").json() == last


def referenced(*ids: str) -> list[dict[str, Any]]:
    """An input that names stored items, and ends with a question."""
    return [*({"type": "item_reference", "id": own} for own in ids), {"role": "user", "content": "more"}]


def test_stored_items_can_be_named_by_their_ids(client: httpx.Client) -> None:
    """They are read as if they were sent: those of an answer and of its question, also in the background."""
    answer = f"<think>hm</think>look {CALL}"
    for background in (False, True):
        made = send(client, answer, tools=[TOOL], background=background)
        url = f"/v1/responses/{made['id']}"
        assert until(lambda url=url: client.get(url).json()["status"] == "completed")
        output = client.get(url).json()["output"]
        [question] = client.get(f"{url}/input_items").json()["data"]
        named = referenced(question["id"], *(item["id"] for item in output))
        sent = [question, *output, {"role": "user", "content": "more"}]
        for path in ("/v1/responses", "/v1/responses/input_tokens", "/v1/responses/compact"):
            one, other = (
                client.post(path, json={"model": "echo", "input": given, "tools": [TOOL]}).json()
                for given in (named, sent)
            )
            tokens = [each.get("usage", each)["input_tokens"] for each in (one, other)]
            assert tokens[0] == tokens[1] > 4


def test_only_stored_items_of_ones_own_can_be_named(client: httpx.Client, server: ThreadServer) -> None:
    made = send(client, "one")
    [item] = made["output"]
    unkept = send(client, "two", store=False)["output"][0]["id"]
    given = {"model": "echo", "input": referenced(item["id"])}
    assert client.post("/v1/responses", json=given).status_code == 200
    with server.connect(server.add_user()) as other, server.connect() as stranger:
        assert other.post("/v1/responses", json=given).status_code == 404
        assert stranger.post("/v1/responses", json=given).status_code == 401
    client.delete(f"/v1/responses/{made['id']}")
    for own in (item["id"], unkept, "msg_none", "rs__0"):
        refused = client.post("/v1/responses", json={"model": "echo", "input": referenced(own)})
        error = refused.json()["error"]
        assert (refused.status_code, error["code"], error["param"]) == (404, "item_not_found", "input[0].id")
    for wrong in ({}, {"id": None}, {"id": ""}):
        body = {"model": "echo", "input": [{"type": "item_reference", **wrong}]}
        refused = client.post("/v1/responses", json=body)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "input[0].id")


def test_a_deleted_response_cannot_be_followed(client: httpx.Client) -> None:
    first = send(client, "one")
    client.delete(f"/v1/responses/{first['id']}")
    body = {"model": "echo", "input": "two", "previous_response_id": first["id"]}
    refused = client.post("/v1/responses", json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "previous_response_not_found")


def test_tokens_are_counted_with_what_a_response_follows(client: httpx.Client) -> None:
    own = client.post("/api/v1/conversations", json={}).json()["id"]
    first = send(client, "one two three", conversation=own)
    for place in ({"previous_response_id": first["id"]}, {"conversation": own}):
        body = {"model": "echo", "input": "four", "instructions": "Be good.", **place}
        counted = client.post("/v1/responses/input_tokens", json=body).json()
        made = client.post("/v1/responses", json={**body, "store": False}).json()
        assert counted["input_tokens"] == prompt_tokens(made) > prompt_tokens(first)
        refused = client.post("/v1/responses/input_tokens", json={**body, "input": []}).json()
        assert refused["error"]["param"] == "input"
    refused = client.post("/v1/responses/input_tokens", json={**body, "conversation": "none"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (404, "conversation")


@pytest.mark.parametrize("last", ["an answer", "reasoning"])
def test_what_ends_with_the_assistant_is_kept_too(client: httpx.Client, last: str) -> None:
    given: list[dict[str, Any]] = [{"role": "user", "content": "one"}]
    if last == "reasoning":
        given.append({"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]})
    else:
        given.append({"role": "assistant", "content": "two"})
    made = send(client, given)
    assert prompt_tokens(made) == prompt_tokens(send(client, given, store=False))
    items = client.get(f"/v1/responses/{made['id']}/input_items", params={"order": "asc"}).json()["data"]
    assert [item["type"] for item in items] == ["message", given[1].get("type", "message")]


def test_what_is_not_kept_needs_no_permission_to_write(client: httpx.Client, server: ThreadServer) -> None:
    with server.connect(server.add_user("inference", "read")) as reader:
        body = {"model": "echo", "input": "one", "conversation": "conv_none"}
        assert reader.post("/v1/responses", json={**body, "store": False}).status_code == 404
        assert reader.post("/v1/responses", json=body).status_code == 403


def test_the_oldest_goes_where_it_may(client: httpx.Client) -> None:
    last = send(client, "word " * 90)
    for _ in range(2):
        last = send(client, "word " * 20, previous_response_id=last["id"])
    refused = client.post(
        "/v1/responses", json={"model": "echo", "input": "word " * 150, "previous_response_id": last["id"]}
    )
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "context_length_exceeded")
    answer = client.post(
        "/v1/responses",
        json={"model": "echo", "input": "word " * 150, "previous_response_id": last["id"], "truncation": "auto"},
    )
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-jan-left-out"].startswith("msg_")


def test_what_the_model_can_never_get_is_left_out(client: httpx.Client) -> None:
    """As in a chat: stored images, and a message that is longer than the context; the header names them. Counting
    leaves them out too. The same in the request itself is refused."""
    image = {"role": "user", "content": [{"type": "input_image", "image_url": "data:,"}]}
    given = [image, {"role": "user", "content": "word " * 500}, {"role": "user", "content": "one two"}]
    own = client.post("/v1/conversations", json={"items": given}).json()["id"]
    unservable = [one["id"] for one in client.get(f"/v1/conversations/{own}/messages").json()["data"][:2]]
    body = {"model": "echo", "input": "three", "instructions": "Be good.", "conversation": own}
    counted = client.post("/v1/responses/input_tokens", json=body).json()["input_tokens"]
    made = client.post("/v1/responses", json=body)
    assert made.headers["x-jan-left-out"] == ", ".join(unservable)
    assert prompt_tokens(made.json()) == counted == len(["Be", "good.", "one", "two", "three"])
    refused = client.post("/v1/responses", json={**body, "input": [image]}).json()["error"]
    assert (refused["code"], refused["param"]) == ("unsupported_content", "input[0].content[0]")


def test_what_is_another_users_is_not_there(client: httpx.Client, server: ThreadServer) -> None:
    made = send(client, "one")
    with server.connect(server.add_user()) as other:
        assert other.get(f"/v1/responses/{made['id']}").status_code == 404
        assert other.delete(f"/v1/responses/{made['id']}").status_code == 404
        follows = other.post(
            "/v1/responses", json={"model": "echo", "input": "two", "previous_response_id": made["id"]}
        )
        assert (follows.status_code, follows.json()["error"]["param"]) == (404, "previous_response_id")
    assert client.get("/v1/responses/resp_none").json()["error"]["code"] == "response_not_found"


def test_strangers_are_kept_nowhere(server: ThreadServer) -> None:
    with server.connect() as stranger:
        assert send(stranger, "one")["store"] is False
        for change in ({"store": True}, {"previous_response_id": "resp_x"}, {"conversation": "conv_x"}):
            refused = stranger.post("/v1/responses", json={"model": "echo", "input": "one", **change})
            assert (refused.status_code, refused.json()["error"]["code"]) == (401, "missing_credentials")


def test_a_refused_response_changes_nothing(client: httpx.Client) -> None:
    for change in (
        {"input": "word " * 500},
        {"input": []},
        {"model": "none"},
        {"conversation": "conv_none"},
        {"previous_response_id": "resp_none"},
        {"background": True, "store": False},
    ):
        refused = client.post("/v1/responses", json={"model": "echo", "input": "one", **change})
        assert refused.status_code in (400, 404), refused.text
    assert client.get("/api/v1/conversations").json()["data"] == []
