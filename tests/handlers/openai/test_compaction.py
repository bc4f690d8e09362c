"""Conversations in short: what OpenAI's client gets, and what a model gets of it in the next request."""

from base64 import urlsafe_b64decode
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import openai
import pytest

from jan.engine.base import ChatPrompt
from jan.handler import Hook, HookContext, ModelRequest
from jan.schema.messages import AssistantMessage, UserMessage
from jan.testing import ThreadServer, served

URL = "/v1/responses/compact"
SUMMARY = "The cat is called Tom."
OPENED = f"Summary of the conversation so far:\n\n{SUMMARY}"
CHAT: list[dict[str, Any]] = [
    {"role": "user", "content": "My cat is called Tom."},
    {"role": "assistant", "content": "Nice."},
    {"type": "function_call", "call_id": "c", "name": "feed", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c", "output": "fed"},
    {"role": "user", "content": [{"type": "input_text", "text": "Thanks."}], "type": "message"},
]


class Summing(Hook):
    """Notes what a model gets, and lets the echo model say a summary where it is asked for one."""

    messages: tuple[Any, ...] = ()

    def before(self, context: HookContext, request: ModelRequest) -> ModelRequest | None:  # type: ignore[override]
        """Replace the server's question by the summary."""
        [sequence] = request.sequences
        assert isinstance(sequence.prompt, ChatPrompt)
        type(self).messages = messages = sequence.prompt.messages
        if not str(messages[-1].content).startswith("Sum up our conversation"):
            return None
        words = {"say nothing": "", "say much": "word " * 100}
        said = UserMessage(content=next((text for key, text in words.items() if key in str(messages)), SUMMARY))
        prompt = msgspec.structs.replace(sequence.prompt, messages=(*messages[:-1], said))
        return msgspec.structs.replace(request, sequences=(msgspec.structs.replace(sequence, prompt=prompt),))


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadServer]:
    with served("models: [{id: echo, engine: echo, options: {context: 200}}]", hooks=[Summing]) as found:
        yield found


def compact(client: httpx.Client, given: Any, **fields: Any) -> list[dict[str, Any]]:
    answer = client.post(URL, json={"model": "echo", "input": given, **fields})
    assert answer.status_code == 200, answer.text
    output: list[dict[str, Any]] = answer.json()["output"]
    return output


def test_the_users_messages_stay_and_the_rest_is_one_item(sdk: openai.OpenAI) -> None:
    """OpenAI's client reads it; the summary is not readable; usage is that of the summary."""
    made = sdk.responses.compact(model="echo", input=CHAT, instructions="Be brief.")  # type: ignore[arg-type]
    assert (made.object, made.id[:5]) == ("response.compaction", "resp_")
    first, second, summary = (item.to_dict(warnings=False) for item in made.output)
    assert first["content"] == [{"type": "input_text", "text": "My cat is called Tom."}]
    assert (first["role"], first["type"], second["content"]) == ("user", "message", CHAT[-1]["content"])
    assert summary["type"] == "compaction"
    assert b"Tom" not in urlsafe_b64decode(str(summary["encrypted_content"]).removeprefix("jan1."))
    assert made.usage.output_tokens == len(SUMMARY.split())
    assert made.usage.total_tokens == made.usage.input_tokens + made.usage.output_tokens
    roles = [type(message).__name__ for message in Summing.messages]
    assert roles[0] == "SystemMessage"
    assert roles[-2:] == ["UserMessage", "UserMessage"]


def test_the_next_request_has_the_summary_as_text(client: httpx.Client) -> None:
    """The output is the history of the next request; compacted again, it has one summary only."""
    output = compact(client, CHAT)
    given = [*output, {"role": "user", "content": "What is it called?"}]
    answer = client.post("/v1/responses", json={"model": "echo", "input": given, "store": False})
    assert answer.status_code == 200, answer.text
    assert "x-jan-ignored" not in answer.headers
    assert Summing.messages[-2].content == OPENED
    again = compact(client, given)
    assert OPENED in [message.content for message in Summing.messages]
    assert [item["type"] for item in again] == ["message"] * 3 + ["compaction"]


def test_a_summary_leaves_room_for_what_follows(sdk: openai.OpenAI) -> None:
    """It has a quarter of the model's context at most: here 50 of 200 tokens."""
    made = sdk.responses.compact(model="echo", input="say much")
    assert made.usage.output_tokens == 50


def test_a_foreign_summary_is_left_out_by_name(client: httpx.Client, server: ThreadServer) -> None:
    """Another user's is of no use, and neither is one of another server, or reasoning that is called a summary."""
    own = compact(client, CHAT)[-1]
    stranger = server.connect(server.add_user())
    for sender, item in ((stranger, own), (client, {"type": "compaction", "encrypted_content": "gAAAA"})):
        given = [item, {"role": "user", "content": "hi"}]
        answer = sender.post("/v1/responses", json={"model": "echo", "input": given})
        assert answer.headers["x-jan-ignored"] == "input[0]"
        assert len(Summing.messages) == 1
    swapped = {"type": "reasoning", "summary": [], "encrypted_content": own["encrypted_content"]}
    answer = client.post("/v1/responses", json={"model": "echo", "input": [swapped, *CHAT]})
    assert answer.headers["x-jan-ignored"] == "input[0].encrypted_content"


def test_a_stored_conversation_is_compacted(sdk: openai.OpenAI, client: httpx.Client) -> None:
    """The stored messages precede those of the request. Nothing is stored, and strangers read nothing."""
    first = sdk.responses.create(model="echo", input="My cat is called Tom.")
    before = client.get("/v1/conversations").json()
    made = sdk.responses.compact(model="echo", previous_response_id=first.id)
    assert [item.to_dict(warnings=False).get("role") for item in made.output] == ["user", None]
    assert any(isinstance(message, AssistantMessage) for message in Summing.messages)
    assert client.get("/v1/conversations").json() == before
    with pytest.raises(openai.NotFoundError) as refused:
        sdk.responses.compact(model="echo", previous_response_id="resp_1")
    assert refused.value.code == "previous_response_not_found"


def test_a_stored_summary_is_not_a_message_of_the_user(sdk: openai.OpenAI, client: httpx.Client) -> None:
    """A response that followed a summary can be compacted again."""
    given = [*compact(client, CHAT), {"role": "user", "content": "Go on."}]
    second = sdk.responses.create(model="echo", input=given)  # type: ignore[arg-type]
    made = sdk.responses.compact(model="echo", previous_response_id=second.id)
    texts = [item.to_dict(warnings=False)["content"][0]["text"] for item in made.output[:-1]]  # type: ignore[index]
    assert texts == ["My cat is called Tom.", "Thanks.", "Go on."]


def test_the_body_of_codex_is_served(client: httpx.Client) -> None:
    """It sends what a response would have too; what is not used is named."""
    tool = {"type": "function", "name": "feed", "parameters": {"type": "object", "properties": {}}}
    reasoning = {"type": "reasoning", "summary": [], "content": None, "encrypted_content": "gAAAA"}
    body = {
        "model": "echo",
        "input": [reasoning, *CHAT],
        "instructions": "You are a coding agent.",
        "tools": [tool, {"type": "web_search"}],
        "parallel_tool_calls": True,
        "reasoning": {"effort": "low", "summary": None},
        "prompt_cache_key": "k",
        "text": {"verbosity": "low"},
    }
    answer = client.post(URL, json=body)
    assert answer.status_code == 200, answer.text
    ignored = answer.headers["x-jan-ignored"].split(", ")
    assert {"input[0].encrypted_content", "tools", "tools[1]", "text", "text.verbosity"} <= set(ignored)


@pytest.mark.parametrize(
    ("given", "status", "code", "param"),
    [
        ([], 400, "invalid_value", "input"),
        ([{"role": "user", "content": "one two " * 200}], 400, "context_length_exceeded", "input"),
        ([{"role": "user", "content": "say nothing"}], 503, "no_summary", None),
        ([{"type": "compaction"}], 400, "invalid_value", "input[0].encrypted_content"),
    ],
    ids=["empty", "too long", "no summary", "no content"],
)
def test_refusals(client: httpx.Client, given: Any, status: int, code: str, param: str | None) -> None:
    """Each says what was wrong, and where."""
    answer = client.post(URL, json={"model": "echo", "input": given})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (status, code, param)


def test_it_is_charged_and_limited(server: ThreadServer, client: httpx.Client, key: str) -> None:
    """Its tokens are in the user's usage, once for an Idempotency-Key, and a used-up budget refuses it."""
    body, once = {"model": "echo", "input": CHAT}, {"Idempotency-Key": "k" * 16}
    first, second = (client.post(URL, json=body, headers=once) for _ in range(2))
    assert second.content == first.content
    used = client.get("/api/v1/usage").json()["totals"]["total_tokens"]
    assert used == first.json()["usage"]["total_tokens"]
    poor = client.post(
        "/api/v1/user/api-keys", json={"name": "poor", "tokens_per_day": 5, "permissions": ["inference"]}
    )
    refused = server.connect(poor.json()["key"]).post(URL, json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")


def test_anonymous_callers_compact_what_they_send(server: ThreadServer) -> None:
    """On loopback nobody needs a key; nothing stored can be named without one."""
    assert compact(server.client, CHAT)[-1]["type"] == "compaction"
    refused = server.client.post(URL, json={"model": "echo", "previous_response_id": "resp_1"})
    assert refused.status_code == 401


TRIGGER = {"type": "compaction_trigger"}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_trigger_makes_the_response_a_summary(sdk: openai.OpenAI, client: httpx.Client, stream: bool) -> None:
    """Codex ends its input with it, and takes the only item of the answer for the summary. Nothing is stored."""
    given: Any = [*CHAT, TRIGGER]
    before = client.get("/v1/conversations").json()
    if stream:
        events = list(sdk.responses.create(model="echo", input=given, stream=True))
        names = [event.type.removeprefix("response.") for event in events]
        assert names == ["created", "in_progress", "output_item.added", "output_item.done", "completed"]
        [made] = events[-1].response.output
        assert events[-2].item == made
        assert [event.sequence_number for event in events] == list(range(5))
    else:
        [made] = sdk.responses.create(model="echo", input=given, tools=[{"type": "web_search"}]).output
    assert client.get("/v1/conversations").json() == before
    send = {"model": "echo", "input": [made.to_dict(), {"role": "user", "content": "Go on."}], "store": False}
    assert client.post("/v1/responses", json=send).status_code == 200
    assert Summing.messages[0].content == OPENED


def test_a_trigger_is_refused_where_it_means_nothing(client: httpx.Client) -> None:
    """Before other items, alone, and in the background. A stream without a summary is an error too."""
    for given, fields, param in (
        ([TRIGGER, *CHAT], {}, "input[0].type"),
        ([TRIGGER], {}, "input"),
        ([*CHAT, TRIGGER], {"background": True}, "background"),
    ):
        refused = client.post("/v1/responses", json={"model": "echo", "input": given, **fields})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)
    body = {"model": "echo", "input": [{"role": "user", "content": "say nothing"}, TRIGGER], "stream": True}
    assert client.post("/v1/responses", json=body).json()["error"]["code"] == "no_summary"
