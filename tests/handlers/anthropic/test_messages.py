"""Anthropic's Messages API over HTTP, on a deterministic model and on the real one."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from jan.testing import ThreadServer, served

MODELS = """
models:
  - {id: echo, engine: echo, options: {context: 300}}
  - {id: caller, engine: echo, options: {tool_format: hermes, reasoning: auto}}
"""
TOOL = {
    "name": "list_files",
    "description": "List files",
    "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
}
FORMAT = {"type": "json_schema", "schema": {"type": "object"}}
CALL = '<tool_call>\n{"name": "list_files", "arguments": {"path": "/tmp"}}\n</tool_call>'


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadServer]:
    with served(MODELS) as found:
        yield found


@pytest.fixture
def client(server: ThreadServer) -> httpx.Client:
    return server.connect(headers={"anthropic-version": "2023-06-01"})


def asked(text: Any, **others: Any) -> dict[str, Any]:
    return {"model": "echo", "max_tokens": 50, "messages": [{"role": "user", "content": text}], **others}


def send(client: httpx.Client, body: dict[str, Any]) -> dict[str, Any]:
    answer = client.post("/api/v1/messages", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def events(client: httpx.Client, body: dict[str, Any]) -> list[dict[str, Any]]:
    """The events of a stream; each frame's name is its event's type."""
    found = []
    with client.stream("POST", "/api/v1/messages", json={**body, "stream": True}) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        for frame in "".join(answer.iter_text()).split("\n\n"):
            lines = dict(line.split(": ", 1) for line in frame.splitlines() if not line.startswith(":"))
            if lines:
                event = json.loads(lines["data"])
                assert event["type"] == lines["event"]
                found.append(event)
    return found


def test_an_answer_is_a_message(client: httpx.Client) -> None:
    message = send(client, asked("one two three"))
    assert message["id"].startswith("msg_")
    assert (message["type"], message["role"], message["model"]) == ("message", "assistant", "echo")
    assert message["content"] == [{"type": "text", "text": "one two three"}]
    assert (message["stop_reason"], message["stop_sequence"]) == ("end_turn", None)
    assert message["usage"]["output_tokens"] == 3


def test_a_stream_has_the_events_in_their_order(client: httpx.Client) -> None:
    found = events(client, asked("one two three"))
    assert [event["type"] for event in found] == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * 3,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    start = found[0]["message"]
    assert (start["content"], start["stop_reason"]) == ([], None)
    assert "".join(event["delta"]["text"] for event in found[2:5]) == "one two three"
    assert found[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert found[-2]["usage"]["output_tokens"] == 3


@pytest.mark.parametrize(
    ("others", "reason", "sequence"),
    [
        ({"max_tokens": 2}, "max_tokens", None),
        ({"stop_sequences": ["three", "two"]}, "stop_sequence", "two"),
        ({"stop_sequences": ["nowhere"]}, "end_turn", None),
    ],
)
def test_the_end_says_why(client: httpx.Client, others: dict[str, Any], reason: str, sequence: str | None) -> None:
    body = asked("one two three", **others)
    whole = send(client, body)
    assert (whole["stop_reason"], whole["stop_sequence"]) == (reason, sequence)
    assert events(client, body)[-2]["delta"] == {"stop_reason": reason, "stop_sequence": sequence}


def test_reasoning_text_and_calls_are_blocks_of_their_own(client: httpx.Client) -> None:
    body = asked(f"<think>hm hm</think>look {CALL}", model="caller", tools=[TOOL])
    message = send(client, body)
    thinking, text, call = message["content"]
    assert (thinking["type"], thinking["thinking"].strip()) == ("thinking", "hm hm")
    assert text["text"].strip() == "look"
    assert (call["type"], call["name"], call["input"]) == ("tool_use", "list_files", {"path": "/tmp"})
    assert call["id"].startswith("toolu_")
    assert message["stop_reason"] == "tool_use"

    found = events(client, body)
    starts = [event["content_block"] for event in found if event["type"] == "content_block_start"]
    assert [start["type"] for start in starts] == ["thinking", "text", "tool_use"]
    assert starts[2]["input"] == {}
    indexes = [event["index"] for event in found if "index" in event]
    assert indexes == sorted(indexes)
    deltas = [event["delta"] for event in found if event["type"] == "content_block_delta"]
    assert "".join(d.get("thinking", "") for d in deltas).strip() == "hm hm"
    assert "".join(d.get("text", "") for d in deltas).strip() == "look"
    assert json.loads("".join(d.get("partial_json", "") for d in deltas)) == {"path": "/tmp"}
    signatures = [d["signature"] for d in deltas if d["type"] == "signature_delta"]
    assert signatures == [thinking["signature"]]
    assert found[-2]["delta"]["stop_reason"] == "tool_use"


def test_thinking_can_be_switched_off(client: httpx.Client) -> None:
    message = send(client, asked("<think>hm</think>yes", model="caller", thinking={"type": "disabled"}))
    assert [block["type"] for block in message["content"]] == ["text"]


def test_a_conversation_with_tools_reaches_the_model(client: httpx.Client) -> None:
    messages = [
        {"role": "user", "content": "Which files?"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "x"},
                {"type": "redacted_thinking", "data": "x"},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "toolu_1", "name": "list_files", "input": {"path": "/"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "a b"}]},
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "gone", "is_error": True},
                {"type": "tool_result", "tool_use_id": "toolu_1"},
                {
                    "type": "document",
                    "title": "T",
                    "source": {"type": "text", "media_type": "x", "data": "inside"},
                },
                {
                    "type": "search_result",
                    "title": "S",
                    "source": "u",
                    "content": [{"type": "text", "text": "hit"}],
                },
                {"type": "text", "text": "And now?", "cache_control": {"type": "ephemeral"}},
            ],
        },
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "done"},
    ]
    body = asked("x", messages=messages, tools=[TOOL], system=[{"type": "text", "text": "S"}])
    assert send(client, body)["content"][0]["text"] == "done"


def test_an_answer_can_be_begun(client: httpx.Client) -> None:
    messages = [{"role": "user", "content": "one two"}, {"role": "assistant", "content": "one "}]
    assert send(client, asked("x", messages=messages))["stop_reason"] == "end_turn"


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}, "messages[0]"),
        ({"output_format": FORMAT}, "output_format"),
        ({"output_config": {"format": FORMAT}}, "output_config.format"),
        ({"output_format": FORMAT, "output_config": {"format": {**FORMAT, "schema": {}}}}, "output_format"),
        ({"tools": [{"name": "x"}]}, "tools[0].input_schema"),
        ({"tools": [TOOL, TOOL]}, "tools[1].name"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "other"}}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"messages": [{"role": "user", "content": [{"type": "sound"}]}]}, "messages[0].content[0].type"),
        (
            {
                "messages": [
                    {"role": "assistant", "content": [{"type": "tool_use", "id": "0", "name": "", "input": {}}]}
                ]
            },
            "messages[0].content[0].name",
        ),
    ],
)
def test_a_refusal_has_anthropics_form(client: httpx.Client, change: dict[str, Any], place: str) -> None:
    answer = client.post("/api/v1/messages", json={**asked("hi"), **change})
    assert answer.status_code == 400, answer.text
    refused = answer.json()
    assert refused["type"] == "error"
    assert refused["error"]["type"] == "invalid_request_error"
    assert place in f"{refused['error']['param']} {refused['error']['message']}"
    assert refused["request_id"] == answer.headers["request-id"] == answer.headers["x-request-id"]


def test_errors_have_anthropics_types(client: httpx.Client) -> None:
    unknown = client.post("/api/v1/messages", json={**asked("hi"), "model": "none"})
    assert (unknown.status_code, unknown.json()["error"]["type"]) == (404, "not_found_error")
    wrong = client.post("/api/v1/messages", json=asked("hi"), headers={"x-api-key": f"jan_{'x' * 43}"})
    assert (wrong.status_code, wrong.json()["error"]["type"]) == (401, "authentication_error")
    long = client.post("/api/v1/messages", json=asked("word " * 400))
    assert long.status_code == 400
    assert "prompt is too long" in long.json()["error"]["message"]


def test_what_is_not_served_is_refused_in_anthropics_form(client: httpx.Client) -> None:
    """Of the URLs below /messages, with a request id."""
    missing = client.post("/api/v1/messages/batches?beta=true", json={})
    assert missing.status_code == 404
    body = missing.json()
    assert (body["type"], body["request_id"]) == ("error", missing.headers["x-request-id"])
    assert body["error"]["type"] == "not_found_error"
    assert body["error"]["code"] == "endpoint_not_served"
    assert "use /api/v1/messages." in body["error"]["message"]


def test_a_key_is_taken_from_anthropics_header(server: ThreadServer) -> None:
    with server.connect(headers={"x-api-key": server.admin_key}) as client:
        assert send(client, asked("hi"))["content"][0]["text"] == "hi"


def test_more_tokens_than_the_context_has_are_cut(client: httpx.Client) -> None:
    assert send(client, asked("one two", max_tokens=32_000))["stop_reason"] == "end_turn"


def test_what_is_not_used_is_named(client: httpx.Client) -> None:
    body = asked(
        "hi",
        tools=[{"type": "web_search_20250305", "name": "web_search"}, TOOL],
        context_management={"edits": []},
        thinking={"type": "enabled", "budget_tokens": 1024},
    )
    answer = client.post("/api/v1/messages?beta=true", json=body)
    assert answer.status_code == 200, answer.text
    ignored = answer.headers["x-jan-ignored"].split(", ")
    assert {"tools[0]", "context_management", "thinking.budget_tokens"} <= set(ignored)


def test_an_image_is_refused_by_name(client: httpx.Client) -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
    answer = client.post("/api/v1/messages", json=asked([{"type": "text", "text": "see"}, image]))
    assert answer.status_code == 400
    assert "'image'" in answer.json()["error"]["message"]
    assert answer.json()["error"]["param"].startswith("messages[0].content[1]")


def test_a_forced_call_is_one(model: httpx.Client) -> None:
    for choice in ({"type": "any"}, {"type": "tool", "name": "list_files", "disable_parallel_tool_use": True}):
        body = {**asked("List /tmp"), "model": "jan-v1-4b", "max_tokens": 100, "temperature": 0}
        message = send(model, {**body, "tools": [TOOL], "tool_choice": choice})
        assert message["content"][0]["name"] == "list_files"


def test_tools_can_be_switched_off(client: httpx.Client) -> None:
    nothing = asked(CALL, model="caller", tools=[TOOL], tool_choice={"type": "none"})
    assert send(client, nothing)["content"][0]["type"] == "text"


def test_counted_tokens_are_those_of_the_usage(client: httpx.Client) -> None:
    for text in ("one", "one two three", "a  b\nc"):
        for tools in ([], [TOOL]):
            body = asked(text, tools=tools, system="Be good.")
            prompt = {name: value for name, value in body.items() if name != "max_tokens"}
            counted = client.post("/api/v1/messages/count_tokens", json=prompt)
            assert counted.json() == {"input_tokens": send(client, body)["usage"]["input_tokens"]}


def test_limits_have_anthropics_names() -> None:
    with served('limits: {anonymous: 2/hour, inference: "off"}') as server, server.connect() as client:
        first = client.post("/api/v1/messages", json=asked("hi"))
        assert first.headers["anthropic-ratelimit-requests-limit"] == "2"
        assert first.headers["anthropic-ratelimit-requests-remaining"] == "1"
        assert first.headers["anthropic-ratelimit-requests-reset"].endswith("Z")
        client.post("/api/v1/messages", json=asked("hi"))
        third = client.post("/api/v1/messages", json=asked("hi"))
        assert (third.status_code, third.json()["error"]["type"]) == (429, "rate_limit_error")
        assert int(third.headers["retry-after"]) > 0


def test_an_error_within_a_stream_is_an_event() -> None:
    with (
        served("models: [{id: echo, engine: echo, options: {die_word: dies}}]") as server,
        server.connect() as client,
    ):
        found = events(client, asked("it dies here"))
        assert found[-1]["type"] == "error"
        assert found[-1]["error"]["type"] in ("overloaded_error", "api_error")
        assert "message_stop" not in [event["type"] for event in found]


def test_usage_tells_the_cache_only_where_it_is_asked_for(model: httpx.Client) -> None:
    text = "Say something about the sea, in a few words, please. " * 8
    plain = {**asked(text), "model": "jan-v1-4b", "max_tokens": 1}
    cached = {**plain, "system": [{"type": "text", "text": "S", "cache_control": {"type": "ephemeral"}}]}
    first = send(model, cached)["usage"]
    again = send(model, cached)["usage"]
    assert again["cache_read_input_tokens"] > 0
    total = first["input_tokens"] + first["cache_read_input_tokens"]
    assert again["input_tokens"] + again["cache_read_input_tokens"] == total
    assert send(model, plain)["usage"]["cache_read_input_tokens"] == 0
