"""Events of a stream have the published order and types, for each kind of answer and each API."""

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import support

from jan.testing import ThreadServer, served

MODEL = "models: [{id: echo, engine: echo, options: {tool_format: hermes, reasoning: auto}}]"
PUBLISHED: dict[str, Any] = json.loads((Path(support.__file__).parent / "published_events.json").read_text())
CASES = [(api, case) for api, published in PUBLISHED.items() for case in published["cases"]]
PLACE = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CALL = '<tool_call>\n{"name": "%s", "arguments": {"%s": "Paris"}}\n</tool_call>'
TEXTS = {
    "text": "one two three",
    "cut": "one two three",
    "call": CALL % ("weather", "city"),
    "custom": CALL % ("patch", "input"),
    "reasoning": "<think>hm hm</think>one two three",
}


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadServer]:
    with served(MODEL) as found:
        yield found


def _body(api: str, case: str) -> dict[str, Any]:
    limit = 2 if case == "cut" else 100
    if api == "messages":
        tools: list[Any] = [{"name": "weather", "input_schema": PLACE}]
        asked = {"messages": [{"role": "user", "content": TEXTS[case]}], "max_tokens": limit}
    else:
        tools = [{"type": "function", "name": "weather", "parameters": PLACE}, {"type": "custom", "name": "patch"}]
        asked = {"input": TEXTS[case], "max_output_tokens": limit}
    return {"model": "echo", "stream": True, "tools": tools, **asked}


def _shown(event: dict[str, Any]) -> str:
    """An event's type, and that of what it is about."""
    kind: str = event["type"]
    if kind.startswith("response."):
        inner = event.get("item") or event.get("part") or {}
        return " ".join(filter(None, [kind, inner.get("type")]))
    inner = event.get("content_block") or event.get("delta") or {}
    return " ".join(filter(None, [kind, inner.get("type") or inner.get("stop_reason")]))


def _events(client: httpx.Client, api: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    answer = client.post(f"/api/v1/{api}", json=body)
    assert answer.status_code == 200, answer.text
    return [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]


@pytest.mark.parametrize(("api", "case"), CASES)
def test_events_come_in_the_published_order(server: ThreadServer, api: str, case: str) -> None:
    """Deltas of the same kind that follow each other count as one."""
    events = _events(server.connect(), api, _body(api, case))
    shown = [_shown(event) for event in events if event["type"] != "ping"]
    assert [name for name, _ in groupby(shown)] == PUBLISHED[api]["cases"][case]


@pytest.mark.sdk
@pytest.mark.parametrize("case", PUBLISHED["responses"]["cases"])
def test_events_are_what_openais_types_say(server: ThreadServer, case: str) -> None:
    """Each has all members that the SDK's type requires, of its type; the SDK itself does not check that."""
    body = _body("responses", case)
    with (
        openai.DefaultHttpxClient(trust_env=False) as http,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="-", http_client=http) as client,
    ):
        for event in client.responses.create(**body):
            type(event).model_validate(event.to_dict(mode="json"))
        whole = client.responses.create(**{**body, "stream": False})
        type(whole).model_validate(whole.to_dict(mode="json"))
