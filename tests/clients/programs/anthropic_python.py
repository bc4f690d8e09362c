"""Anthropic's SDK: messages, its stream helpers, its runner of tools, its schemas, errors."""

from typing import Any, Literal

import anthropic
import pydantic
from anthropic.types import RawMessageStreamEvent
from programs.shared import NOBODY, REAL, SCRIPTED, SPOKEN, TEXT, WEATHER, joined, refused

EVENT = pydantic.TypeAdapter(RawMessageStreamEvent)
ASK: dict[str, Any] = {"max_tokens": 100, "messages": [{"role": "user", "content": TEXT}]}


class Trip(pydantic.BaseModel):
    city: Literal["Paris"]
    days: Literal[2]


@anthropic.beta_tool
def get_weather(city: str) -> str:
    """Return the weather of a city."""
    assert city == "Paris"
    return WEATHER


def _client(url: str, key: str) -> Any:
    return anthropic.Anthropic(base_url=f"{url}/api", api_key=key)


def messages(url: str, key: str) -> Any:
    client = _client(url, key)
    answer = client.messages.create(model=SCRIPTED, **ASK)
    counted = client.messages.count_tokens(model=REAL, messages=ASK["messages"]).input_tokens
    assert counted == client.messages.create(model=REAL, **ASK).usage.input_tokens
    return answer.content[0].text


def messages_stream(url: str, key: str) -> Any:
    """Both helpers' sums of a text, of thinking and of a call; each event is what the SDK's types say."""
    client = _client(url, key)
    thought = {"max_tokens": 100, "messages": [{"role": "user", "content": f"<think>Hm.</think>{TEXT}"}]}
    for space in (client.messages, client.beta.messages):
        with space.stream(model=SCRIPTED, **ASK) as events:
            pieces = list(events.text_stream)
            assert joined(pieces) == events.get_final_text()
            assert events.get_final_message().usage.output_tokens == 3
        with space.stream(model=SCRIPTED, **thought, thinking={"type": "adaptive"}) as events:
            thinking, text = events.get_final_message().content
            assert (thinking.thinking, text.text) == ("Hm.", TEXT)
        with space.stream(model=SCRIPTED, **ASK, tools=[get_weather.to_dict()]) as events:
            [call] = events.get_final_message().content
            assert call.input == {"city": "Paris"}
    for asked in (ASK, {**thought, "thinking": {"type": "adaptive"}}, {**ASK, "tools": [get_weather.to_dict()]}):
        for event in client.messages.create(model=SCRIPTED, stream=True, **asked):
            EVENT.validate_python(event.to_dict(mode="json"))
    _check_sums(client)
    return joined(pieces)


def _check_sums(client: anthropic.Anthropic) -> None:
    """Check the helper's sums of many blocks, and of answers that are cut: they are the whole answers."""
    think, call = (
        "<think>Hm hm hm hm.</think>",
        '<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}</tool_call>',
    )
    for text, limit, blocks, reason in (
        (call + call, 100, ["tool_use"] * 2, "tool_use"),
        (think + TEXT + call + call, 100, ["thinking", "text", "tool_use", "tool_use"], "tool_use"),
        (TEXT, 2, ["text"], "max_tokens"),
        (think + TEXT, 2, ["thinking"], "max_tokens"),
    ):
        asked: Any = {"messages": [{"role": "user", "content": text}], "thinking": {"type": "adaptive"}}
        asked |= {"model": SPOKEN, "max_tokens": limit, "tools": [get_weather.to_dict()]}
        with client.messages.stream(**asked) as events:
            for event in events:
                event.to_dict(mode="json")
            found = events.get_final_message()
        assert ([block.type for block in found.content], found.stop_reason) == (blocks, reason)
        whole = client.messages.create(**asked)
        assert _without_ids(found) == _without_ids(whole)


def _without_ids(message: Any) -> Any:
    blocks = message.to_dict(mode="json")["content"]
    return [{name: value for name, value in block.items() if name != "id"} for block in blocks]


def tools(url: str, key: str) -> Any:
    runner = _client(url, key).beta.messages.tool_runner(model=SCRIPTED, tools=[get_weather], **ASK)
    return runner.until_done().content[0].text


def structured(url: str, key: str) -> Any:
    answer = _client(url, key).messages.parse(model=REAL, output_format=Trip, **ASK)
    return answer.parsed_output.model_dump()


def errors(url: str, key: str) -> Any:
    error = refused(anthropic.NotFoundError, _client(url, key).messages.create, model=NOBODY, **ASK)
    assert error.request_id
    return str(error)
