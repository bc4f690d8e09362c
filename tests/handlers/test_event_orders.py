"""Events of a stream have the published order and types, for each kind of answer and each API."""

import json
import warnings
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import httpx
import msgspec
import openai
import pytest
import support

from jan.engine.backends.echo import EchoBackend
from jan.engine.base import Finished, JobId, Output
from jan.testing import ThreadServer, model, served

PUBLISHED: dict[str, Any] = json.loads((Path(support.__file__).parent / "published_events.json").read_text())
CASES = [(api, case) for api, published in PUBLISHED.items() for case in published["cases"]]
PLACE = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CALL = '<tool_call>\n{"name": "%s", "arguments": {"%s": "Paris"}}\n</tool_call>'
TEXT, THOUGHT, WEATHER = "one two three", "<think>hm hm</think>", CALL % ("weather", "city")
TEXTS = {
    "text": TEXT,
    "cut": TEXT,
    "call": WEATHER,
    "custom": CALL % ("patch", "input"),
    "reasoning": THOUGHT + TEXT,
    "calls": WEATHER + WEATHER,
    "everything": THOUGHT + TEXT + WEATHER + WEATHER,
    "cut reasoning": "<think>hm hm hm hm hm</think>" + TEXT,
    "cut call": WEATHER,
    "nothing": "",
    "refused": TEXT,
    "failed": "one two three dies",
}
# Most tokens of an answer that is cut. A token is a word of the echo engine.
LIMITS = {"cut": 2, "cut reasoning": 3, "cut call": 6}
# Models that die: such a model is gone, so each test has its own.
DYING = ("dying-responses", "dying-messages", "dying-typed", "dying-summed", "dying-queued")


class Refusing(EchoBackend):
    """An engine whose answers are ended by a filter."""

    def step(self) -> list[tuple[JobId, Output]]:
        """Replace the reason of every end."""
        return [(job, _filtered(one)) for job, one in super().step()]


def _filtered(output: Output) -> Output:
    return msgspec.structs.replace(output, reason="content_filter") if isinstance(output, Finished) else output


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadServer]:
    forms = {"tool_format": "hermes", "reasoning": "auto"}
    dying = [model(name, die_word="dies", **forms) for name in DYING]
    with served(models=[model("echo", **forms), model("refused", Refusing, **forms), *dying]) as found:
        yield found


def _body(api: str, case: str, dying: str = "") -> dict[str, Any]:
    """The request of a case. ``dying``: the model that dies, if the case has one."""
    models = {"refused": "refused", "failed": dying or f"dying-{api}"}
    limit = LIMITS.get(case, 100)
    messages = [{"role": "user", "content": TEXTS[case]}]
    if api == "messages":
        tools: list[Any] = [{"name": "weather", "input_schema": PLACE}]
        asked = {"messages": messages, "max_tokens": limit}
    else:
        tools = [{"type": "function", "name": "weather", "parameters": PLACE}, {"type": "custom", "name": "patch"}]
        asked = {"input": messages, "max_output_tokens": limit}
    return {"model": models.get(case, "echo"), "stream": True, "tools": tools, **asked}


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
def test_events_are_what_openais_types_say(sdk: openai.OpenAI, case: str) -> None:
    """Each has all members that the SDK's type requires, of its type; the SDK itself does not check that."""
    body = _body("responses", case, "dying-typed")
    events = list(sdk.responses.create(**body))
    for event in events:
        type(event).model_validate(event.to_dict(mode="json"))
    ended = events[-1].response
    whole = sdk.responses.retrieve(ended.id)
    type(whole).model_validate(whole.to_dict(mode="json"))
    assert whole.output == ended.output


@pytest.mark.sdk
@pytest.mark.parametrize("case", PUBLISHED["responses"]["cases"])
def test_a_background_response_has_the_same_events(sdk: openai.OpenAI, case: str) -> None:
    """Before them it is queued. Each is what the SDK's types say, also where the stream is taken up again."""
    created, *others = PUBLISHED["responses"]["cases"][case]
    events = list(sdk.responses.create(**_body("responses", case, "dying-queued"), background=True))
    for event in events:
        type(event).model_validate(event.to_dict(mode="json"))
    shown = [_shown(event.to_dict(mode="json")) for event in events]
    assert [name for name, _ in groupby(shown)] == [created, "response.queued", *others]
    again = sdk.responses.retrieve(events[0].response.id, stream=True, starting_after=2)
    assert [_shown(event.to_dict(mode="json")) for event in again] == shown[3:]


@pytest.mark.sdk
@pytest.mark.parametrize("case", PUBLISHED["responses"]["cases"])
def test_openais_stream_helper_sums_up_without_a_warning(sdk: openai.OpenAI, case: str) -> None:
    """What it has added up of each item is what the last event says."""
    body = _body("responses", case, "dying-summed")
    del body["stream"]
    sums: dict[int, str] = {}
    with warnings.catch_warnings(), sdk.responses.stream(**body) as events:
        warnings.simplefilter("error")
        for event in events:
            if event.type in ("response.output_text.delta", "response.function_call_arguments.delta"):
                sums[event.output_index] = event.snapshot
        items = event.response.output
    assert sums == {at: text for at, item in enumerate(items) if (text := _said(item))}


def _said(item: Any) -> str:
    """The text of a message, or the arguments of a call; '' of others."""
    if item.type == "message":
        return "".join(part.text for part in item.content)
    return item.arguments if item.type == "function_call" else ""
