"""OpenAI's Conversations API: items of conversations, on both stores, by its SDK and by HTTP."""

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from jan.testing import ThreadServer, served

CALL = '<tool_call>\n{"name": "list_files", "arguments": {"path": "/tmp"}}\n</tool_call>'
TOOL: Any = {
    "type": "function",
    "name": "list_files",
    "parameters": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
}
GIVEN: Any = [
    {"role": "developer", "content": "Be good."},
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Which files?"}]},
    {"type": "function_call", "call_id": "call_1", "name": "list_files", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "call_1", "output": ""},
]


@pytest.fixture(scope="module")
def server(storage: str) -> Iterator[ThreadServer]:
    """A server in the process of the test, on a store of each kind in turn."""
    text = "models:\n- {id: echo, engine: echo, options: {tool_format: hermes, reasoning: auto}}\n"
    text += "limits: {quota: {conversations: 20, messages: 60}}\n"
    with served(text + storage) as found:
        yield found


def texts(items: Any) -> list[str]:
    """The texts of messages, and the types of other items."""
    return [item.content[0].text if item.type == "message" else item.type for item in items]


def test_the_sdk_creates_lists_reads_and_deletes(sdk: openai.OpenAI) -> None:
    made = sdk.conversations.create(items=GIVEN, metadata={"a": "b"})
    assert (made.object, made.metadata) == ("conversation", {"a": "b"})
    listed = sdk.conversations.items.list(made.id, order="asc", include=["message.output_text.logprobs"])
    shown = ["Be good.", "Which files?", "function_call", "function_call_output"]
    assert texts(listed.data) == shown
    # Pages follow one another, newest first unless the order is asc.
    assert texts(sdk.conversations.items.list(made.id, limit=1)) == shown[::-1]
    added = sdk.conversations.items.create(
        made.id, items=[{"role": "user", "content": "And now?"}, {"role": "assistant", "content": "None."}]
    )
    assert texts(added.data) == ["And now?", "None."]
    for item in [*listed.data, *added.data]:
        assert sdk.conversations.items.retrieve(item.id, conversation_id=made.id) == item
    gone = sdk.conversations.items.delete(added.data[0].id, conversation_id=made.id)
    assert gone.id == made.id
    assert texts(sdk.conversations.items.list(made.id, order="asc")) == [*shown, "None."]
    with pytest.raises(openai.NotFoundError, match="not found"):
        sdk.conversations.items.retrieve(added.data[0].id, conversation_id=made.id)
    assert sdk.conversations.update(made.id, metadata={"c": "d"}).metadata == {"c": "d"}
    assert sdk.conversations.retrieve(made.id).metadata == {"c": "d"}
    assert sdk.conversations.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        sdk.conversations.items.list(made.id)


def test_items_are_what_responses_continue(sdk: openai.OpenAI, client: httpx.Client) -> None:
    made = sdk.conversations.create(items=[{"role": "user", "content": "one"}])
    answer = sdk.responses.create(
        model="echo", input=f"<think>hm</think>look {CALL}", tools=[TOOL], conversation=made.id
    )
    items = sdk.conversations.items.list(made.id, order="asc").data
    # An item has the id that the response gave it.
    assert [item.id for item in items[2:]] == [item.id for item in answer.output]
    assert [item.type for item in items] == ["message", "message", "reasoning", "message", "function_call"]
    stored = client.get(f"/v1/conversations/{made.id}").json()
    assert (stored["title"], stored["message_count"], stored["object"]) == ("one", 3, "conversation")
    # An answer is one message: with one of its items all of them go, and the response with them.
    sdk.conversations.items.delete(items[-1].id, conversation_id=made.id)
    assert len(sdk.conversations.items.list(made.id).data) == 2
    assert client.get(f"/v1/responses/{answer.id}").status_code == 404
    assert client.get(f"/v1/responses/{answer.id}/input_items").status_code == 404
    assert sdk.responses.create(model="echo", input="two", conversation=made.id).output_text == "two"


@pytest.mark.parametrize("older", [False, True])
def test_a_title_goes_with_what_it_was_made_of(sdk: openai.OpenAI, client: httpx.Client, older: bool) -> None:
    """Also one that an older version made, with its marks of Markdown."""
    made = sdk.conversations.create(items=[{"role": "user", "content": "# A *secret*."}])
    assert client.get(f"/v1/conversations/{made.id}").json()["title"] == "A secret."
    if older:
        client.patch(f"/v1/conversations/{made.id}", json={"title": "# A *secret*."}).raise_for_status()
    [item] = sdk.conversations.items.list(made.id).data
    sdk.conversations.items.delete(item.id, conversation_id=made.id)
    assert "secret" not in client.get(f"/v1/conversations/{made.id}").text
    sdk.conversations.items.create(made.id, items=[{"role": "user", "content": "No secret."}])
    assert client.get(f"/v1/conversations/{made.id}").json()["title"] == "No secret."


def test_only_the_path_to_the_head_is_listed(sdk: openai.OpenAI, client: httpx.Client) -> None:
    made = sdk.conversations.create(items=[{"role": "user", "content": "one"}, {"role": "user", "content": "two"}])
    first = sdk.conversations.items.list(made.id, order="asc").data[0].id
    branch = {"role": "user", "content": "other", "parent_id": first}
    assert client.post(f"/v1/conversations/{made.id}/messages", json=branch).status_code == 200
    assert texts(sdk.conversations.items.list(made.id, order="asc").data) == ["one", "other"]


def test_an_empty_result_reaches_the_model(sdk: openai.OpenAI) -> None:
    made = sdk.conversations.create(items=GIVEN[1:])
    with_result = sdk.responses.create(model="echo", input="well?", conversation=made.id, store=False)
    alone = sdk.responses.create(
        model="echo", input=[*GIVEN[1:], {"role": "user", "content": "well?"}], store=False
    )
    assert with_result.usage == alone.usage


@pytest.mark.parametrize(
    ("items", "param"),
    [
        ([{"type": "poem"}], "items[0].type"),
        ([{"role": "user", "content": "one"}, {"role": "king", "content": "two"}], "items[1].role"),
        ([{"role": "user", "content": "one"}] * 21, "items"),
        ([{"type": "reasoning", "summary": []}, {"role": "system"}], "items[1].content"),
        ("one", "items"),
        (["one"], "items[0]"),
    ],
)
def test_refused_items_change_nothing(client: httpx.Client, items: Any, param: str) -> None:
    refused = client.post("/v1/conversations", json={"items": items})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, param), refused.text
    assert client.get("/v1/conversations").json()["data"] == []
    own = client.post("/v1/conversations", json={}).json()["id"]
    refused = client.post(f"/v1/conversations/{own}/items", json={"items": items})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, param), refused.text
    assert client.get(f"/v1/conversations/{own}").json()["message_count"] == 0


def test_items_that_nothing_here_runs_are_named(client: httpx.Client) -> None:
    items = [{"type": "web_search_call", "id": "ws_1"}]
    made = client.post("/v1/conversations", json={"items": items})
    assert made.headers["x-jan-ignored"] == "items[0]"
    url = f"/v1/conversations/{made.json()['id']}/items"
    assert client.post(url, json={"items": items}).json()["data"] == []
    empty = {"object": "list", "data": [], "has_more": False, "first_id": None, "last_id": None}
    assert client.get(url).json() == empty


def test_a_repeated_request_adds_nothing_twice(client: httpx.Client) -> None:
    items = {"items": [{"role": "user", "content": "one"}, {"role": "user", "content": "two"}]}
    sent = [
        client.post("/v1/conversations", json=items, headers={"Idempotency-Key": "the-first-request"})
        for _ in range(2)
    ]
    assert sent[0].json() == sent[1].json()
    url = f"/v1/conversations/{sent[0].json()['id']}/items"
    added = [client.post(url, json=items, headers={"Idempotency-Key": "the-second-request"}) for _ in range(2)]
    assert added[0].json() == added[1].json()
    assert len(client.get(url).json()["data"]) == 4


def test_a_quota_refuses_all_or_nothing(client: httpx.Client) -> None:
    items = {"items": [{"role": "user", "content": "one"}] * 20}
    own = client.post("/v1/conversations", json=items).json()["id"]
    url = f"/v1/conversations/{own}/items"
    assert client.post(url, json={"items": items["items"][:19]}).status_code == 200
    assert client.post(url, json={"items": items["items"][:2]}).status_code == 200
    for refused in (client.post(url, json=items), client.post("/v1/conversations", json=items)):
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "quota_exceeded")
    [conversation] = client.get("/v1/conversations").json()["data"]
    assert conversation["message_count"] == 41


def test_what_is_another_users_is_not_there(client: httpx.Client, server: ThreadServer) -> None:
    own = client.post("/v1/conversations", json={"items": GIVEN}).json()["id"]
    url = f"/v1/conversations/{own}/items"
    item = client.get(url).json()["data"][0]["id"]
    with server.connect(server.add_user()) as other, server.connect() as stranger:
        for caller, status in ((other, 404), (stranger, 401)):
            answers = [
                caller.get(url),
                caller.post(url, json={"items": GIVEN}),
                caller.get(f"{url}/{item}"),
                caller.delete(f"{url}/{item}"),
                caller.post(f"/v1/conversations/{own}", json={"metadata": {}}),
            ]
            assert [answer.status_code for answer in answers] == [status] * 5
    assert len(client.get(url).json()["data"]) == 4


def test_another_conversations_item_is_not_there(client: httpx.Client) -> None:
    first, second = (client.post("/v1/conversations", json={"items": GIVEN}).json()["id"] for _ in range(2))
    item = client.get(f"/v1/conversations/{first}/items").json()["data"][0]["id"]
    missing = client.delete(f"/v1/conversations/{second}/items/{item}")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "item_not_found")
    assert client.get(f"/v1/conversations/{first}/items/{item}").status_code == 200


def test_schemas_keep_their_keys(client: httpx.Client) -> None:
    """Keys and numbers that a store can't hold as they are come back as they were."""
    odd = {"type": "object", "properties": {"$a.b\0": {"type": "number", "maximum": 10**30}}}
    body = {"model": "echo", "input": "one", "tools": [{**TOOL, "parameters": odd}]}
    made = client.post("/v1/responses", json=body)
    assert made.status_code == 200, made.text
    assert client.get(f"/v1/responses/{made.json()['id']}").json()["tools"][0]["parameters"] == odd
