"""Tools in namespaces: a model knows each by one name, and a client by its namespace and its own name."""

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from jan.testing import ThreadServer, served

MODELS = "models: [{id: caller, engine: echo, options: {tool_format: hermes, reasoning: auto}}]"
LIST = {"type": "function", "name": "list_files", "parameters": {"type": "object", "properties": {}}}
PATCH = {"type": "custom", "name": "patch"}
DISK = {"type": "namespace", "name": "disk", "description": "Files", "tools": [LIST, PATCH]}
CALLS = """<tool_call>
{"name": "disk__list_files", "arguments": {}}
</tool_call>
<tool_call>
{"name": "disk__patch", "arguments": {"input": "a"}}
</tool_call>"""
NAMES = [("disk", "list_files"), ("disk", "patch")]


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadServer]:
    with served(MODELS) as found:
        yield found


def _names(items: Any) -> list[tuple[str, str]]:
    return [(item.namespace, item.name) for item in items]


def test_calls_have_the_namespace_and_the_tools_own_name(sdk: openai.OpenAI) -> None:
    """Whole, streamed and stored; each event is what the SDK's types say."""
    asked: dict[str, Any] = {"model": "caller", "input": CALLS, "tools": [DISK]}
    whole = sdk.responses.create(**asked)
    assert _names(whole.output) == NAMES == _names(sdk.responses.retrieve(whole.id).output)
    assert [tool.to_dict(mode="json") for tool in whole.tools] == [DISK]
    events = list(sdk.responses.create(**asked, stream=True))
    for event in events:
        type(event).model_validate(event.to_dict(mode="json"))
    for kind in ("response.output_item.added", "response.output_item.done"):
        assert _names(event.item for event in events if event.type == kind) == NAMES
    assert _names(events[-1].response.output) == NAMES


def test_the_model_gets_calls_that_are_sent_back_by_its_own_names(client: httpx.Client) -> None:
    body = {"model": "caller", "input": CALLS, "tools": [DISK], "store": False}
    calls = client.post("/v1/responses", json=body).json()["output"]
    joined = [{**call, "name": f"disk__{call['name']}", "namespace": None} for call in calls]
    words = []
    for items in (calls, joined):
        results = [{"type": "function_call_output", "call_id": one["call_id"], "output": "done"} for one in items]
        counted = client.post("/v1/responses/input_tokens", json={**body, "input": [*items, *results]})
        assert "input" not in counted.headers["x-jan-ignored"]
        words.append(counted.json()["input_tokens"])
    assert words[0] == words[1]


def test_a_choice_names_a_tool_of_a_namespace(client: httpx.Client) -> None:
    """Its own name is enough, unless several namespaces have it."""
    tool = {"type": "function", "name": "list_files"}
    body = {
        "model": "caller",
        "input": CALLS.partition("\n<tool_call>")[0],
        "tools": [DISK],
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [tool]},
    }
    [call] = client.post("/v1/responses", json=body).json()["output"]
    assert (call["namespace"], call["name"]) == ("disk", "list_files")
    refused = client.post("/v1/responses", json={**body, "tools": [DISK, {**DISK, "name": "tape"}]})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "tool_choice")
    assert "allowed: disk__list_files, tape__list_files." in refused.json()["error"]["message"]


def test_a_long_name_is_shortened_for_the_model(client: httpx.Client) -> None:
    """Models know names of 64 characters at most."""
    long = [{**LIST, "name": "f" * 60 + end} for end in ("a", "b")]
    body = {"model": "caller", "input": "hi", "tools": [{**DISK, "name": "n" * 60, "tools": long}]}
    assert client.post("/v1/responses", json=body).status_code == 200


def test_what_a_namespace_has_besides_its_tools_is_named(client: httpx.Client) -> None:
    tools = [LIST, {"type": "web_search"}]
    body = {"model": "caller", "input": "hi", "tools": [{**DISK, "tools": tools}, {**DISK, "tools": []}]}
    ignored = client.post("/v1/responses", json=body).headers["x-jan-ignored"].split(", ")
    assert set(ignored) == {"tools[0].tools[1]", "tools[0].description", "tools[1]"}
