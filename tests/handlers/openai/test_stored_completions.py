"""Chat completions that are stored, on both stores, by OpenAI's SDK and by HTTP."""

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from jan.testing import ThreadServer, served

CALL = '<tool_call>\n{"name": "list_files", "arguments": {"path": "/tmp"}}\n</tool_call>'
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "list_files",
        "parameters": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
    },
}
URL = "/v1/chat/completions"


@pytest.fixture(scope="module")
def server(storage: str) -> Iterator[ThreadServer]:
    """A server in the process of the test, on a store of each kind in turn."""
    text = "models: [{id: echo, engine: echo, aliases: [other], options: {tool_format: hermes, context: 400}}]\n"
    with served(text + storage) as found:
        yield found


def body(text: str = "one", **others: Any) -> dict[str, Any]:
    return {"model": "echo", "messages": [{"role": "user", "content": text}], "store": True, **others}


def send(client: httpx.Client, text: str = "one", **others: Any) -> dict[str, Any]:
    answer = client.post(URL, json=body(text, **others))
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def test_the_sdk_stores_reads_changes_and_deletes(sdk: openai.OpenAI) -> None:
    made = sdk.chat.completions.create(**body(f"look {CALL}", tools=[TOOL], metadata={"a": "b"}))
    kept = sdk.chat.completions.retrieve(made.id)
    assert kept.choices == made.choices
    assert (kept.usage, kept.created, kept.model) == (made.usage, made.created, "echo")
    assert kept.metadata == {"a": "b"}
    [question] = sdk.chat.completions.messages.list(made.id)
    assert (question.role, question.content) == ("user", f"look {CALL}")
    changed = sdk.chat.completions.update(made.id, metadata={"c": "d"})
    assert sdk.chat.completions.retrieve(made.id) == changed
    assert sdk.chat.completions.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError, match="not found"):
        sdk.chat.completions.retrieve(made.id)
    assert list(sdk.chat.completions.list()) == []


def test_completions_are_listed(sdk: openai.OpenAI, client: httpx.Client) -> None:
    noted = [{"n": str(number), "odd": str(number % 2)} for number in range(5)]
    ids = [send(client, metadata=one)["id"] for one in noted]
    ids.append(send(client, model="other")["id"])
    send(client, store=False)
    assert [one.id for one in sdk.chat.completions.list(limit=2)] == ids
    assert [one.id for one in sdk.chat.completions.list(limit=4, order="desc")] == ids[::-1]
    assert [one.id for one in sdk.chat.completions.list(metadata={"odd": "1"}, limit=1)] == [ids[1], ids[3]]
    assert [one.id for one in sdk.chat.completions.list(metadata={"odd": "1", "n": "3"})] == [ids[3]]
    page = client.get(URL, params={"after": ids[1], "limit": 2}).json()
    assert (page["first_id"], page["last_id"], page["has_more"]) == (ids[2], ids[3], True)
    models = {one["model"] for one in client.get(URL, params={"model": "echo"}).json()["data"]}
    assert models == {"echo"}
    for wrong in ({"after": "msg_1"}, {"page": "1"}, {"limit": "0"}, {"order": "up"}):
        refused = client.get(URL, params=wrong)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, next(iter(wrong)))


def test_a_stored_completion_is_a_turn(client: httpx.Client) -> None:
    """Of its own conversation, or of the one that the request names; and a response too."""
    alone = send(client)
    own = alone["conversation"]["id"]
    assert alone["id"].removeprefix("chatcmpl-") == alone["conversation"]["message_id"].removeprefix("msg_")
    second = send(client, "two", conversation_id=own)
    assert second["usage"]["prompt_tokens"] > alone["usage"]["prompt_tokens"]
    asked = client.get(f"{URL}/{second['id']}/messages").json()
    assert [message["content"] for message in asked["data"]] == ["two"]
    response = client.get(f"/v1/responses/{second['id'].replace('chatcmpl-', 'resp_')}").json()
    assert response["output"][0]["content"][0]["text"] == "two"
    # What is not asked to be stored is in the conversation, and no stored completion.
    third = send(client, "three", conversation_id=own, store=None)
    assert client.get(f"{URL}/{third['id']}").status_code == 404
    # A deleted one leaves what else is in the conversation.
    assert client.delete(f"{URL}/{alone['id']}").json()["object"] == "chat.completion.deleted"
    messages = client.get(f"/v1/conversations/{own}/messages").json()["data"]
    assert [message["content"] for message in messages] == ["", "", "two", "two", "three", "three"]
    assert client.delete(f"{URL}/{alone['id']}").status_code == 404
    assert client.post(f"{URL}/{alone['id']}", json={"metadata": {}}).status_code == 404


def test_a_conversation_made_for_it_goes_with_it(client: httpx.Client) -> None:
    made = send(client, "secret")
    client.delete(f"{URL}/{made['id']}")
    assert client.get("/v1/conversations").json()["data"] == []


def test_a_streamed_completion_is_stored_too(sdk: openai.OpenAI) -> None:
    chunks = list(sdk.chat.completions.create(**body("one two", stream=True)))
    [own] = {chunk.id for chunk in chunks}
    assert sdk.chat.completions.retrieve(own).choices[0].message.content == "one two"


def test_all_messages_of_the_question_are_listed(client: httpx.Client) -> None:
    parts = [{"type": "text", "text": "and now?"}]
    messages = [
        {"role": "system", "content": "Be good."},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": parts},
    ]
    made = send(client, messages=messages)
    url = f"{URL}/{made['id']}/messages"
    listed = client.get(url).json()["data"]
    assert [(one["role"], one["content"]) for one in listed] == [
        ("system", "Be good."),
        ("user", "one"),
        ("assistant", "two"),
        ("user", None),
    ]
    assert listed[-1]["content_parts"] == parts
    page = client.get(url, params={"order": "desc", "limit": 1}).json()
    assert (page["data"], page["has_more"]) == ([listed[-1]], True)
    assert client.get(url, params={"after": listed[-1]["id"]}).json()["data"] == []
    assert client.get(url, params={"after": "msg_none"}).status_code == 400


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"n": 2}, "n"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"store": "yes"}, "store"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": "word " * 500}]}, "messages"),
        ({"metadata": {"a": 1}}, "metadata[...]"),
        ({"conversation_id": "conv_none"}, "conversation_id"),
    ],
)
def test_a_refused_completion_changes_nothing(client: httpx.Client, change: Any, param: str) -> None:
    refused = client.post(URL, json=body(**change))
    assert (refused.status_code, refused.json()["error"]["param"]) in ((400, param), (404, param)), refused.text
    assert client.get("/v1/conversations").json()["data"] == []
    assert client.get(URL).json()["data"] == []


def test_what_is_another_users_is_not_there(client: httpx.Client, server: ThreadServer) -> None:
    made = send(client)
    with server.connect(server.add_user()) as other, server.connect() as stranger:
        for caller, status in ((other, 404), (stranger, 401)):
            answers = [
                caller.get(f"{URL}/{made['id']}"),
                caller.get(f"{URL}/{made['id']}/messages"),
                caller.post(f"{URL}/{made['id']}", json={"metadata": {"a": "b"}}),
                caller.delete(f"{URL}/{made['id']}"),
            ]
            assert [answer.status_code for answer in answers] == [status] * 4
        assert other.get(URL).json()["data"] == []
        assert stranger.post(URL, json=body()).status_code == 401
        assert stranger.post(URL, json=body(store=False)).status_code == 200
    with server.connect(server.add_user("inference")) as limited:
        assert limited.post(URL, json=body()).status_code == 403
    assert client.get(f"{URL}/{made['id']}").json()["metadata"] == {}
    assert client.get(f"{URL}/resp_1").json()["error"]["code"] == "completion_not_found"
