"""OpenAI's Responses API over HTTP, on a deterministic model and on the real one."""

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
    "type": "function",
    "name": "list_files",
    "parameters": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
}
CUSTOM = {"type": "custom", "name": "patch", "description": "Change a file"}
CALL = '<tool_call>\n{"name": "list_files", "arguments": {"path": "/tmp"}}\n</tool_call>'
CUSTOM_CALL = '<tool_call>\n{"name": "patch", "arguments": {"input": "*** Begin"}}\n</tool_call>'


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadServer]:
    with served(MODELS) as found:
        yield found


@pytest.fixture
def client(server: ThreadServer) -> httpx.Client:
    return server.connect()


def send(client: httpx.Client, given: Any, **others: Any) -> dict[str, Any]:
    answer = client.post("/v1/responses", json={"model": "echo", "input": given, **others})
    assert answer.status_code == 200, answer.text
    return answer.json()


def events(client: httpx.Client, given: Any, **others: Any) -> list[dict[str, Any]]:
    """The events of a stream: each frame's name is its event's type, and they are numbered from 0."""
    found = []
    body = {"model": "echo", "input": given, "stream": True, **others}
    with client.stream("POST", "/v1/responses", json=body) as answer:
        assert answer.status_code == 200, answer.read()
        for frame in "".join(answer.iter_text()).split("\n\n"):
            lines = dict(line.split(": ", 1) for line in frame.splitlines() if not line.startswith(":"))
            if lines:
                event = json.loads(lines["data"])
                assert event["type"] == lines["event"]
                found.append(event)
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    return found


def types(found: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in found]


def test_a_response_has_items(client: httpx.Client) -> None:
    response = send(client, "one two three", metadata={"a": "b"}, temperature=0.5)
    assert response["id"].startswith("resp_")
    assert (response["object"], response["status"], response["model"]) == ("response", "completed", "echo")
    assert (response["temperature"], response["metadata"], response["error"]) == (0.5, {"a": "b"}, None)
    [message] = response["output"]
    assert (message["type"], message["role"], message["status"]) == ("message", "assistant", "completed")
    assert message["content"] == [
        {"type": "output_text", "text": "one two three", "annotations": [], "logprobs": []}
    ]
    assert response["usage"]["output_tokens"] == 3
    assert response["usage"]["total_tokens"] == 3 + response["usage"]["input_tokens"]


def test_a_stream_has_the_events_in_their_order(client: httpx.Client) -> None:
    found = events(client, "one two three")
    assert types(found) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        *["output_text.delta"] * 3,
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert "".join(event["delta"] for event in found[4:7]) == "one two three" == found[7]["text"]
    assert found[-1]["response"]["output"] == [found[-2]["item"]]
    assert found[-1]["response"]["usage"]["output_tokens"] == 3
    assert {event["item_id"] for event in found if "item_id" in event} == {found[2]["item"]["id"]}


def test_a_limit_makes_it_incomplete(client: httpx.Client) -> None:
    for response in (
        send(client, "one two three", max_output_tokens=2),
        events(client, "one two three", max_output_tokens=2)[-1]["response"],
    ):
        assert (response["status"], response["incomplete_details"]) == (
            "incomplete",
            {"reason": "max_output_tokens"},
        )
        assert response["output"][0]["status"] == "incomplete"


def test_reasoning_text_and_calls_are_items_of_their_own(client: httpx.Client) -> None:
    given = f"<think>hm hm</think>look {CALL}"
    response = send(client, given, model="caller", tools=[TOOL])
    reasoning, message, call = response["output"]
    assert (reasoning["type"], reasoning["content"][0]["text"].strip()) == ("reasoning", "hm hm")
    assert message["content"][0]["text"].strip() == "look"
    assert (call["type"], call["name"]) == ("function_call", "list_files")
    assert json.loads(call["arguments"]) == {"path": "/tmp"}

    found = events(client, given, model="caller", tools=[TOOL])
    added = [event["item"]["type"] for event in found if event["type"] == "response.output_item.added"]
    assert added == ["reasoning", "message", "function_call"]
    done = [event["item"] for event in found if event["type"] == "response.output_item.done"]
    assert [event["output_index"] for event in found if event["type"] == "response.output_item.done"] == [0, 1, 2]
    assert found[-1]["response"]["output"] == done
    pieces = [event["delta"] for event in found if event["type"] == "response.function_call_arguments.delta"]
    assert "".join(pieces) == done[2]["arguments"]
    assert json.loads("".join(pieces)) == {"path": "/tmp"}


def test_a_custom_tool_takes_a_text(client: httpx.Client) -> None:
    for response in (
        send(client, CUSTOM_CALL, model="caller", tools=[CUSTOM]),
        events(client, CUSTOM_CALL, model="caller", tools=[CUSTOM])[-1]["response"],
    ):
        [call] = [item for item in response["output"] if item["type"] == "custom_tool_call"]
        assert (call["name"], call["input"]) == ("patch", "*** Begin")


def test_all_kinds_of_items_reach_the_model(client: httpx.Client) -> None:
    given = [
        {"role": "developer", "content": "Be good."},
        {"role": "user", "content": [{"type": "input_text", "text": "Which files?"}], "type": "message"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
        {"type": "function_call", "call_id": "c1", "name": "list_files", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "patch", "input": "x"},
        {"type": "function_call_output", "call_id": "c1", "output": "a b"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "ok"}]},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"role": "user", "content": "done"},
    ]
    answer = client.post("/v1/responses", json={"model": "echo", "input": given, "tools": [TOOL, CUSTOM]})
    assert answer.status_code == 200, answer.text
    assert answer.json()["output"][0]["content"][0]["text"] == "done"
    assert set(answer.headers["x-jan-ignored"].split(", ")) == {"input[8]", "input[2].content"}


def test_what_is_not_used_is_named(client: httpx.Client) -> None:
    body = {
        "model": "echo",
        "input": [
            {"type": "reasoning", "summary": [], "encrypted_content": "gAAAA"},
            {"role": "user", "content": "hi", "x": 1},
        ],
        "tools": [{"type": "web_search"}, {**TOOL, "defer": 1}, {"type": "namespace", "name": "n", "tools": []}],
        "tool_choice": {"type": "allowed_tools", "tools": [{"type": "function", "name": "list_files"}], "x": 1},
        "stream_options": {"include_obfuscation": True},
        "include": ["reasoning.encrypted_content", "web_search_call.action.sources"],
        "reasoning": {"summary": "auto"},
        "client_metadata": {"a": "b"},
        "prompt_cache_key": "k",
        "store": False,
    }
    answer = client.post("/v1/responses", json=body)
    assert answer.status_code == 200, answer.text
    ignored = set(answer.headers["x-jan-ignored"].split(", "))
    assert ignored == {
        "input[0].encrypted_content",
        "input[1].x",
        "tools[0]",
        "tools[1].defer",
        "tools[2]",
        "tool_choice.x",
        "include[1]",
        "stream_options.include_obfuscation",
        "reasoning.summary",
        "client_metadata",
    }
    assert [tool["type"] for tool in answer.json()["tools"]] == ["function"]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"input": [{"type": "sound"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": 5}]}, "input[0].content"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
            "input[0].content[0]",
        ),
        ({"input": []}, "input"),
        ({"input": [{"type": "function_call", "call_id": "0", "name": "", "arguments": ""}]}, "input[0].name"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [TOOL, TOOL]}, "tools[1].name"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "name": "other"}}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools", "tools": 5}}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools", "tools": [5]}}, "tool_choice"),
        ({"tools": [{"name": "f"}]}, "tools[0].type"),
        ({"tools": [{"type": "namespace", "tools": []}]}, "tools[0].name"),
        ({"tools": [{"type": "namespace", "name": "n", "tools": [5]}]}, "tools[0].tools"),
        (
            {"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "function"}]}]},
            "tools[0].tools[0].name",
        ),
        ({"input": [], "instructions": "Be good."}, "input"),
        ({"conversation": ""}, "conversation"),
        ({"previous_response_id": ""}, "previous_response_id"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        (
            {"text": {"format": {"type": "json_schema", "name": "x", "strict": True, "schema": {"type": "no"}}}},
            "text",
        ),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"metadata": {str(number): "" for number in range(17)}}, "metadata"),
        ({"metadata": {"a": "x" * 513}}, "metadata"),
    ],
)
def test_a_refusal_names_the_place(client: httpx.Client, change: dict[str, Any], param: str) -> None:
    answer = client.post("/v1/responses", json={"model": "echo", "input": "hi", **change})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"].startswith(param), answer.text


def test_counted_tokens_are_those_of_the_usage(client: httpx.Client) -> None:
    for given in ("one", "one two three", [{"role": "user", "content": "a  b\nc"}]):
        for tools in ([], [TOOL]):
            body = {"model": "echo", "input": given, "tools": tools, "instructions": "Be good."}
            counted = client.post("/v1/responses/input_tokens", json=body)
            used = send(client, given, tools=tools, instructions="Be good.")["usage"]["input_tokens"]
            assert counted.json() == {"object": "response.input_tokens", "input_tokens": used}


def test_an_error_within_a_stream_ends_the_response() -> None:
    with (
        served("models: [{id: echo, engine: echo, options: {die_word: dies}}]") as server,
        server.connect() as client,
    ):
        found = events(client, "it dies here")
        assert types(found)[-2:] == ["error", "failed"]
        response = found[-1]["response"]
        assert (response["status"], response["error"]["code"]) == ("failed", "server_error")
        assert (found[-2]["code"], response["error"]["message"]) == ("engine_dead", found[-2]["message"])
        assert response["output"][0]["status"] == "incomplete"


def test_formats_calls_and_logprobs_of_the_real_model(model: httpx.Client) -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    text = {"format": {"type": "json_schema", "name": "n", "schema": schema, "strict": True}}
    made = send(model, "A number?", model="jan-v1-4b", text=text, max_output_tokens=40, temperature=0)
    assert set(json.loads(made["output"][0]["content"][0]["text"])) == {"n"}
    called = send(
        model, "List /tmp", model="jan-v1-4b", tools=[TOOL], tool_choice="required", max_output_tokens=80
    )
    assert called["output"][0]["type"] == "function_call"
    include = ["message.output_text.logprobs"]
    scored = events(
        model, "Hi", model="jan-v1-4b", include=include, top_logprobs=2, max_output_tokens=4, temperature=0
    )
    deltas = [event for event in scored if event["type"] == "response.output_text.delta"]
    assert all(len(score["top_logprobs"]) == 2 for event in deltas for score in event["logprobs"])
    assert sum(len(event["logprobs"]) for event in deltas) == 4
