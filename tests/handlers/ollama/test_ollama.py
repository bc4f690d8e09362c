"""Ollama's API over HTTP, on a deterministic model and on the real one."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from jan.errors import ConfigurationError
from jan.handler import PUBLIC, Handler, operation
from jan.testing import ThreadServer, route, served

MODELS = """
models:
  - {id: echo, engine: echo, options: {context: 300}}
  - {id: caller, engine: echo, options: {tool_format: hermes, reasoning: auto}}
"""
TOOL = {
    "type": "function",
    "function": {
        "name": "list_files",
        "parameters": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
    },
}
CALL = '<tool_call>\n{"name": "list_files", "arguments": {"path": "/tmp"}}\n</tool_call>'


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadServer]:
    with served(MODELS) as found:
        yield found


@pytest.fixture
def client(server: ThreadServer) -> httpx.Client:
    return server.connect()


def lines(client: httpx.Client, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """All lines of a stream; the last one, and only this, is done."""
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    found = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["done"] for line in found] == [False] * (len(found) - 1) + [True]
    return found


def chat(text: str, **others: Any) -> dict[str, Any]:
    return {"model": "echo", "messages": [{"role": "user", "content": text}], **others}


def test_a_chat_is_streamed_by_default(client: httpx.Client) -> None:
    *found, end = lines(client, "/api/chat", chat("one two three"))
    assert [line["message"] for line in found] == [
        {"role": "assistant", "content": word} for word in ("one ", "two ", "three")
    ]
    assert (end["done_reason"], end["eval_count"], end["message"]["content"]) == ("stop", 3, "")
    assert end["prompt_eval_count"] > 0
    assert end["total_duration"] >= end["eval_duration"] >= 0


def test_a_chat_can_be_whole(client: httpx.Client) -> None:
    answer = client.post("/api/chat", json=chat("one two three", stream=False, model="echo:latest")).json()
    assert answer["message"] == {"role": "assistant", "content": "one two three"}
    assert (answer["model"], answer["done"], answer["eval_count"]) == ("echo:latest", True, 3)


def test_a_completion_has_its_text_as_response(client: httpx.Client) -> None:
    body = {"model": "echo", "prompt": "one two three", "system": "Be good.", "options": {"num_predict": 2}}
    *found, end = lines(client, "/api/generate", body)
    assert "".join(line["response"] for line in found) == "one two "
    assert end["done_reason"] == "length"
    raw = client.post("/api/generate", json={**body, "raw": True, "stream": False}).json()
    assert raw["response"] == "one two "


def test_reasoning_and_calls_have_fields_of_their_own(client: httpx.Client) -> None:
    body = chat(f"<think>hm hm</think>look {CALL} {CALL}", model="caller", tools=[TOOL])
    whole = client.post("/api/chat", json={**body, "stream": False}).json()["message"]
    assert whole["thinking"].strip() == "hm hm"
    assert whole["content"].strip() == "look"
    assert [call["function"]["arguments"] for call in whole["tool_calls"]] == [{"path": "/tmp"}] * 2
    streamed = [line["message"] for line in lines(client, "/api/chat", body)]
    assert "".join(message.get("thinking", "") for message in streamed).strip() == "hm hm"
    calls = [call for message in streamed for call in message.get("tool_calls", ())]
    assert [call["function"] for call in calls] == [call["function"] for call in whole["tool_calls"]]
    assert len({call["id"] for call in calls}) == 2
    hidden = client.post("/api/chat", json={**body, "stream": False, "think": False}).json()["message"]
    assert "thinking" not in hidden


def test_a_conversation_with_tools_reaches_the_model(client: httpx.Client) -> None:
    messages = [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "Which files?"},
        {
            "role": "assistant",
            "content": "",
            "thinking": "hm",
            "tool_calls": [
                {"function": {"name": "list_files", "arguments": {"path": "/"}}},
                {"function": {"name": "other", "arguments": {}}},
            ],
        },
        {"role": "tool", "content": "a b", "tool_name": "other"},
        {"role": "tool", "content": "c d"},
        {"role": "user", "content": "done"},
    ]
    body = {"model": "echo", "messages": messages, "tools": [TOOL], "stream": False}
    assert client.post("/api/chat", json=body).json()["message"]["content"] == "done"


@pytest.mark.parametrize(
    ("path", "change", "ignored"),
    [
        (
            "chat",
            {"keep_alive": "5m", "options": {"num_ctx": 4096, "num_gpu": 1}, "top_logprobs": 2},
            {"keep_alive", "options.num_ctx", "options.num_gpu", "top_logprobs"},
        ),
        (
            "chat",
            {"messages": [{"role": "user", "content": "x", "thinking": "y", "tool_name": "z"}]},
            {"messages[0].thinking", "messages[0].tool_name"},
        ),
        ("chat", {"messages": [], "keep_alive": 0, "options": {"top_k": 1}}, {"keep_alive", "options"}),
        ("generate", {"keep_alive": 0, "system": "Be good."}, {"keep_alive", "system"}),
        ("generate", {"prompt": "x", "raw": True, "system": "Be good.", "think": True}, {"system", "think"}),
    ],
)
def test_what_is_not_used_is_named(
    client: httpx.Client, path: str, change: dict[str, Any], ignored: set[str]
) -> None:
    body = {**(chat("hi") if path == "chat" else {"model": "echo"}), "stream": False, **change}
    answer = client.post(f"/api/{path}", json=body)
    assert answer.status_code == 200, answer.text
    assert set(answer.headers["x-jan-ignored"].split(", ")) == ignored


def test_no_limit_has_three_numbers(client: httpx.Client) -> None:
    for limit in (-2, -1, 0):
        body = chat("one two three", stream=False, options={"num_predict": limit})
        assert client.post("/api/chat", json=body).json()["message"]["content"] == "one two three"


@pytest.mark.parametrize(
    ("path", "change", "status", "said"),
    [
        ("chat", {"model": "none"}, 404, "none"),
        ("chat", {"messages": [{"role": "user", "content": "x", "images": ["A"]}]}, 400, "messages[0].images[0]"),
        ("chat", {"messages": [{"role": "system", "content": "x", "images": ["A"]}]}, 400, "messages[0].images"),
        ("generate", {"prompt": "x", "images": ["A"]}, 400, '"images[0]"'),
        ("generate", {"images": ["A"]}, 400, '"images[0]"'),
        ("generate", {"prompt": "x", "images": ["A"], "raw": True}, 400, "images"),
        ("chat", {"options": {"mirostat": 1, "typical_p": 0.5}}, 400, "options.typical_p"),
        ("chat", {"messages": [{"role": "user", "content": "word " * 400}]}, 400, "too long"),
        (
            "chat",
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": ""}}]}]},
            400,
            "messages[0].tool_calls[0].function.name",
        ),
        ("chat", {"options": {"temperature": 9}}, 400, "options.temperature"),
        ("chat", {"tools": [{"type": "function"}]}, 400, "tools[0].function"),
        ("generate", {"prompt": "x", "template": "{{ .Prompt }}"}, 400, "template"),
        ("generate", {"prompt": "x", "context": [1, 2]}, 400, "context"),
        ("show", {"model": "none"}, 404, "none"),
        ("show", {"model": ""}, 400, "model"),
    ],
)
def test_a_refusal_is_a_text(
    client: httpx.Client, path: str, change: dict[str, Any], status: int, said: str
) -> None:
    answer = client.post(f"/api/{path}", json={**(chat("hi") if path == "chat" else {"model": "echo"}), **change})
    assert answer.status_code == status, answer.text
    assert isinstance(answer.json()["error"], str)
    assert said in answer.text


def test_an_error_within_a_stream_is_its_last_line() -> None:
    with (
        served("models: [{id: echo, engine: echo, options: {die_word: dies}}]") as server,
        server.connect() as client,
    ):
        answer = client.post("/api/chat", json=chat("it dies here"))
        last = json.loads(answer.text.splitlines()[-1])
        assert isinstance(last["error"], str)
        assert "done" not in last


def test_models_are_listed_and_shown(client: httpx.Client) -> None:
    listed = client.get("/api/tags").json()["models"]
    assert [model["name"] for model in listed] == ["echo", "caller"]
    assert all(len(model["digest"]) == 64 for model in listed)
    shown = client.post("/api/show", json={"model": "echo"}).json()
    assert "completion" in shown["capabilities"]
    assert [n for name, n in shown["model_info"].items() if name.endswith(".context_length")] == [300]
    assert [model["name"] for model in client.get("/api/ps").json()["models"]] == ["echo", "caller"]
    assert client.get("/api/version").json()["version"]


@pytest.mark.parametrize("path", ["pull", "create", "blobs/sha256:0"])
def test_what_is_not_served_is_refused_in_ollamas_form(client: httpx.Client, path: str) -> None:
    """Its clients show the text of `error`."""
    missing = client.post(f"/api/{path}", json={"model": "echo"})
    assert (missing.status_code, missing.json()["code"]) == (404, "endpoint_not_served")
    assert missing.json()["error"].startswith("This server has no API of Ollama for models' files")


def test_an_empty_request_loads_the_model(client: httpx.Client) -> None:
    for path, body in (("chat", {"messages": []}), ("generate", {})):
        answer = client.post(f"/api/{path}", json={"model": "echo", **body}).json()
        assert (answer["done"], answer["done_reason"]) == (True, "load")


def test_formats_and_log_probabilities_of_the_real_model(model: httpx.Client) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    body = chat("A number?", model="jan-v1-4b", stream=False, format=schema, options={"num_predict": 40})
    assert set(json.loads(model.post("/api/chat", json=body).json()["message"]["content"])) == {"n"}
    scored = chat("Hi", model="jan-v1-4b", stream=False, logprobs=True, top_logprobs=2, options={"num_predict": 3})
    logprobs = model.post("/api/chat", json=scored).json()["logprobs"]
    assert [len(one["top_logprobs"]) for one in logprobs] == [2, 2, 2]


def test_the_group_can_be_switched_off() -> None:
    with served(f"{MODELS}\nendpoints: {{ollama: off}}") as server:
        gone = server.client.post("/api/chat", json=chat("hi"))
        assert (gone.status_code, gone.json()["code"]) == (404, "endpoint_not_served")
        assert "/api/chat" not in server.client.get("/api/openapi.json").json()["paths"]
        assert server.client.get("/api/v1/models").status_code == 200


def test_an_unknown_group_stops_the_start() -> None:
    with (
        pytest.raises(ConfigurationError, match=r"endpoints\.olama: There is no such group of routes.*ollama"),
        served("endpoints: {olama: off}"),
    ):
        pass


class Anything(Handler):
    """An endpoint of somebody else's, which takes a part of the path."""

    @operation(summary="Tell nothing", access=PUBLIC, limit="none")
    async def get(self, anything: str) -> None:
        """Answer with nothing."""


def test_a_route_that_takes_a_path_of_the_group_stops_the_start() -> None:
    routes = [route("/api/{anything}", Anything)]
    with (
        pytest.raises(ConfigurationError, match="also matches /api/chat of the group ollama"),
        served(routes=routes),
    ):
        pass
    with served("endpoints: {ollama: off}", routes=routes) as server:
        assert server.client.get("/api/chat").status_code == 200
