"""The `openai` npm package, driven by sdk_node.mjs: answers, streams, tools, JSON, errors."""

import json
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from support.patience import until
from support.sdk import REQUEST_ID, TEXT, WORDS, StartServer, measured, running
from support.server import MODEL, ServerProcess

pytestmark = pytest.mark.sdk

# As the reference prints it; only the host and the port are another's.
SAMPLE = """\
import OpenAI from 'openai';
const openai = new OpenAI({
  baseURL: 'http://localhost:8080/api/v1',
  apiKey: 'your-jwt-token'
});
const completion = await openai.chat.completions.create({
  model: 'jan-v1-4b',
  messages: [
    { role: 'user', content: 'Hello!' }
  ]
});
"""

TRIP: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 8}, "days": {"type": "integer", "enum": [1, 2, 7]}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
# Only one call is possible, so two answers can be compared.
CLOCK: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"const": "Paris"}, "hours": {"const": 24}},
    "required": ["city", "hours"],
    "additionalProperties": False,
}


def test_the_references_sample(node: Callable[..., Any], echo_server: ServerProcess) -> None:
    """The sample runs as printed and gets a chat completion."""
    program = echo_server.fill_in(SAMPLE)
    completion = node(program + "console.log(JSON.stringify(completion));")
    assert (completion["object"], completion["model"]) == ("chat.completion", MODEL)
    assert completion["choices"][0]["message"]["content"] == "Hello!"


def test_models(play: Callable[..., Any], echo_server: ServerProcess) -> None:
    """models.list() can be iterated, models.retrieve() gives one."""
    seen = play("models", echo_server)
    assert MODEL in seen["ids"]
    assert (seen["one"]["id"], seen["one"]["object"]) == (MODEL, "model")


def test_chat(play: Callable[..., Any], echo_server: ServerProcess) -> None:
    """A completion has its choices, its usage, and the request id."""
    completion = play("chat", echo_server, TEXT)
    assert [(c["index"], c["message"]["content"]) for c in completion["choices"]] == [(0, TEXT), (1, TEXT)]
    assert completion["usage"]["completion_tokens"] == 2 * WORDS
    assert REQUEST_ID.fullmatch(completion["requestId"])


def test_stream(play: Callable[..., Any], echo_server: ServerProcess) -> None:
    """Chunks add up to the text, one has the finish reason, the last one the usage."""
    *chunks, last = play("stream", echo_server, TEXT)
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert "".join(choice["delta"].get("content", "") for choice in choices) == TEXT
    assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == ["stop"]
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], 2 * WORDS)


def test_stream_helper(play: Callable[..., Any], echo_server: ServerProcess) -> None:
    """The SDK's stream helper collects the completion from our chunks."""
    seen = play("helper", echo_server, TEXT)
    assert "".join(seen["deltas"]) == seen["completion"]["choices"][0]["message"]["content"] == TEXT


def test_text_completions(play: Callable[..., Any], echo_server: ServerProcess) -> None:
    """The text endpoint answers."""
    (choice,) = play("completions", echo_server, "one two")["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("one ", "length")


def test_leaving_a_stream_frees_its_slot(play: Callable[..., Any], echo_server: ServerProcess) -> None:
    """Breaking out of the loop over a stream stops the generation."""
    cancelled = measured(echo_server, "jan_engine_cancelled_total", model="slow")
    assert play("leave", echo_server, "word " * 1000)["content"].startswith("word")
    assert until(lambda: running(echo_server, "slow") == 0)
    assert measured(echo_server, "jan_engine_cancelled_total", model="slow") == cancelled + 1


def test_errors(play: Callable[..., Any], echo_server: ServerProcess) -> None:
    """Refusals are the SDK's own error classes, with status, code, param and request id."""
    seen = play("errors", echo_server)
    assert all(error["isApiError"] and REQUEST_ID.fullmatch(error["requestId"]) for error in seen.values())
    assert {name: [error[k] for k in ("name", "status", "code", "param")] for name, error in seen.items()} == {
        "value": ["BadRequestError", 400, "invalid_value", "temperature"],
        "stream": ["BadRequestError", 400, "invalid_value", "temperature"],
        "model": ["NotFoundError", 404, "model_not_found", "model"],
        "url": ["NotFoundError", 404, "endpoint_not_served", None],
        "size": ["APIError", 413, "body_too_large", None],
        "type": ["APIError", 415, "unsupported_media_type", None],
    }


def test_error_inside_a_stream(play: Callable[..., Any], start_server: StartServer) -> None:
    """A shutdown during a stream is an APIError with its code, not a broken connection."""
    server = start_server(
        "server: {grace_seconds: 0}\nmodels: [{id: slow, engine: echo, options: {step_seconds: 0.02}}]"
    )
    error = play("shutdown", server, str(server.pid))
    assert error["content"]
    assert (error["name"], error["code"]) == ("APIError", "shutting_down")
    assert REQUEST_ID.fullmatch(error["requestId"])
    assert server.wait() == 0


@pytest.mark.model
def test_tools(play: Callable[..., Any], model_server: ServerProcess) -> None:
    """A required tool is called, streamed and not, with arguments that its schema accepts; its result sent
    back gives an answer in text."""
    seen = play("tools", model_server, json.dumps(CLOCK))
    for choice in (seen["whole"], seen["streamed"]):
        (call,) = choice["message"]["tool_calls"]
        assert (choice["finish_reason"], call["type"], call["function"]["name"]) == (
            "tool_calls",
            "function",
            "clock",
        )
        assert json.loads(call["function"]["arguments"]) == {"city": "Paris", "hours": 24}
    assert seen["answer"]["message"]["content"]
    assert seen["answer"]["finish_reason"] in ("stop", "length")


@pytest.mark.model
def test_json_schema(play: Callable[..., Any], model_server: ServerProcess) -> None:
    """response_format json_schema: the answer is JSON that the schema accepts."""
    choice = play("schema", model_server, json.dumps(TRIP))
    assert choice["finish_reason"] == "stop"
    jsonschema.validate(json.loads(choice["message"]["content"]), TRIP)
