"""Answers that try the readers of calls: whatever a model writes, each API answers what clients can read."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from jan.testing import ThreadServer, served

MODELS = """
models:
  - {id: tags, engine: echo, options: {tool_format: qwen3_coder}}
  - {id: json, engine: echo, options: {tool_format: hermes}}
"""
SCHEMA = {"type": "object", "properties": {"o": {"type": "object"}}}
FUNCTION = {"name": "f", "description": "F", "parameters": SCHEMA}
DEEP = '{"o": ' * 1500 + "1" + "}" * 1500


def in_json(arguments: str) -> str:
    return f'<tool_call>{{"name": "f", "arguments": {arguments}}}</tool_call>'


# The model, what it writes, and the argument as clients get it. Halves of characters become U+FFFD.
HALF = [
    ("tags", '<tool_call><function=f><parameter=o>{"n": "\\ud800"}</parameter></function></tool_call>', "\ufffd"),
    ("json", in_json(json.dumps('{"o": {"n": "\ud800"}}')), "\ufffd"),
    ("json", in_json('{"o": {"n": "\\ud83d\\ude00\\ud800\\\\ud800"}}'), "😀\ufffd\\ud800"),
]
PATHS = {
    "/v1/chat/completions": {"tools": [{"type": "function", "function": FUNCTION}]},
    "/v1/responses": {"tools": [{"type": "function", **FUNCTION}]},
    "/v1/messages": {"tools": [{"name": "f", "input_schema": SCHEMA}], "max_tokens": 5000},
    "/api/chat": {"tools": [{"type": "function", "function": FUNCTION}]},
}


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadServer]:
    with served(MODELS) as found:
        yield found
        assert found.errors == []


def asked(path: str, model: str, text: str, *, stream: bool) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    content = {"input": text} if path == "/v1/responses" else {"messages": messages}
    return {"model": model, **content, **PATHS[path], "stream": stream}


def arguments_in(path: str, answer: httpx.Response) -> dict[str, Any]:
    """The arguments of the only call of a whole answer."""
    found = answer.json()
    if path == "/v1/chat/completions":
        [call] = found["choices"][0]["message"]["tool_calls"]
        return json.loads(call["function"]["arguments"])
    if path == "/v1/responses":
        return json.loads(found["output"][-1]["arguments"])
    if path == "/v1/messages":
        return found["content"][-1]["input"]
    return found["message"]["tool_calls"][0]["function"]["arguments"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("model", "text", "argument"), HALF, ids=["typed", "in a text", "as it is"])
def test_half_a_character_breaks_no_answer(
    server: ThreadServer, path: str, model: str, text: str, argument: str
) -> None:
    """Nothing can encode one. Readers of JSON that take its escape put it in the place of the text."""
    answer = server.client.post(path, json=asked(path, model, text, stream=False))
    assert answer.status_code == 200, answer.text
    found = arguments_in(path, answer)["o"]["n"]
    assert found.encode("utf-8", "replace").replace(b"?", b"\xef\xbf\xbd") == argument.encode()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("model", "text"),
    [*((model, text) for model, text, _ in HALF), ("json", in_json(DEEP))],
    ids=["typed", "in a text", "as it is", "deep"],
)
def test_an_answer_comes_to_its_end(server: ThreadServer, path: str, model: str, text: str, stream: bool) -> None:
    """Whole or streamed, and without an error, also if the arguments are nested deeper than any reader takes."""
    answer = server.client.post(path, json=asked(path, model, text, stream=stream))
    assert answer.status_code == 200, answer.text
    assert '"error": {' not in answer.text.replace('"error":{', '"error": {')
    if path == "/v1/responses" and stream:
        assert "event: response.completed" in answer.text


@pytest.mark.parametrize(
    ("stop", "content"),
    [(["abcd", "c"], "xxab"), (["c", "abcd"], "xxab"), (["bcd", "abc"], "xx")],
    ids=["inner", "inner first", "equal ends"],
)
def test_the_stop_string_that_is_complete_first_ends_the_answer(
    server: ThreadServer, stop: list[str], content: str
) -> None:
    """However the model cuts its answer into tokens."""
    body = {"model": "json", "messages": [{"role": "user", "content": "xxabcd"}], "stop": stop}
    answer = server.client.post("/v1/chat/completions", json=body)
    assert answer.json()["choices"][0]["message"]["content"] == content


@pytest.mark.parametrize(
    ("path", "of_call", "of_text"),
    [
        ("/v1/responses", "response.function_call_arguments.delta", "response.output_text.delta"),
        ("/v1/messages", "input_json_delta", "text_delta"),
    ],
)
def test_a_token_may_end_a_call_and_begin_the_text_behind_it(
    server: ThreadServer, path: str, of_call: str, of_text: str
) -> None:
    """The end of the arguments stays with the call. It was taken for text."""
    text = in_json('{"o": {"n": "a b"}}') + "look here"
    answer = server.client.post(path, json=asked(path, "json", text, stream=True))
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
    if path == "/v1/messages":
        deltas = [event for event in events if event["type"] == "content_block_delta"]
        # A block has deltas of one kind.
        assert {(event["index"], event["delta"]["type"]) for event in deltas} == {(0, of_call), (1, of_text)}
        pieces = [(one["delta"]["type"], [*one["delta"].values()][-1]) for one in deltas]
    else:
        pieces = [(event["type"], event["delta"]) for event in events if "delta" in event]
    assert json.loads("".join(piece for kind, piece in pieces if kind == of_call)) == {"o": {"n": "a b"}}
    assert "".join(piece for kind, piece in pieces if kind == of_text) == "look here"
