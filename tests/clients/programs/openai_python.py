"""OpenAI's SDK: chat, its stream helpers, its schemas of Pydantic models, responses, errors."""

import json
from typing import Any, Literal

import openai
import pydantic
from programs.shared import EMBEDDER, NOBODY, REAL, SCRIPTED, TEXT, WEATHER, joined, refused

MESSAGES = [{"role": "user", "content": TEXT}]


class Trip(pydantic.BaseModel):
    city: Literal["Paris"]
    days: Literal[2]


class GetWeather(pydantic.BaseModel):
    city: str


def _client(url: str, key: str) -> Any:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key)


def chat(url: str, key: str) -> Any:
    answer = _client(url, key).chat.completions.create(model=SCRIPTED, messages=MESSAGES)
    return answer.choices[0].message.content


def stream(url: str, key: str) -> Any:
    with _client(url, key).chat.completions.stream(model=SCRIPTED, messages=MESSAGES) as events:
        pieces = [event.delta for event in events if event.type == "content.delta"]
        assert joined(pieces) == events.get_final_completion().choices[0].message.content
    return joined(pieces)


def tools(url: str, key: str) -> Any:
    """A tool of a Pydantic model, and its result sent back."""
    client = _client(url, key)
    tool = openai.pydantic_function_tool(GetWeather, name="get_weather")
    choice = client.chat.completions.parse(model=SCRIPTED, messages=MESSAGES, tools=[tool]).choices[0]
    [call] = choice.message.tool_calls
    assert call.function.parsed_arguments == GetWeather(city="Paris")
    sent = [*MESSAGES, choice.message, {"role": "tool", "tool_call_id": call.id, "content": WEATHER}]
    answer = client.chat.completions.create(model=SCRIPTED, messages=sent, tools=[tool])
    return answer.choices[0].message.content


def structured(url: str, key: str) -> Any:
    answer = _client(url, key).chat.completions.parse(model=REAL, messages=MESSAGES, response_format=Trip)
    return answer.choices[0].message.parsed.model_dump()


def responses(url: str, key: str) -> Any:
    """A text, a tool with its result, and a Pydantic model."""
    client = _client(url, key)
    tool = openai.pydantic_function_tool(GetWeather, name="get_weather")["function"]
    given: list[Any] = [{"role": "user", "content": TEXT}]
    called = client.responses.create(model=SCRIPTED, input=given, tools=[{"type": "function", **tool}])
    [call] = called.output
    assert json.loads(call.arguments) == {"city": "Paris"}
    given += [call, {"type": "function_call_output", "call_id": call.call_id, "output": WEATHER}]
    assert client.responses.create(model=SCRIPTED, input=given).output_text == WEATHER
    parsed = client.responses.parse(model=REAL, input=TEXT, text_format=Trip)
    assert parsed.output_parsed == Trip(city="Paris", days=2)
    return client.responses.create(model=SCRIPTED, input=TEXT).output_text


def responses_stream(url: str, key: str) -> Any:
    """The helper's sum of a text, of reasoning and of a call; each event is what the SDK's types say."""
    client = _client(url, key)
    with client.responses.stream(model=SCRIPTED, input=TEXT) as events:
        pieces = [event.delta for event in events if event.type == "response.output_text.delta"]
        assert joined(pieces) == events.get_final_response().output_text
    with client.responses.stream(model=SCRIPTED, input=f"<think>Hm.</think>{TEXT}") as events:
        reasoning, message = events.until_done().get_final_response().output
        assert (reasoning.content[0].text, message.content[0].text) == ("Hm.", TEXT)
    tool = openai.pydantic_function_tool(GetWeather, name="get_weather")
    with client.responses.stream(model=SCRIPTED, input=TEXT, tools=[tool]) as events:
        [call] = events.until_done().get_final_response().output
        assert call.parsed_arguments == GetWeather(city="Paris")
    for text in (TEXT, f"<think>Hm.</think>{TEXT}"):
        for more in ({}, {"tools": [{"type": "function", **tool["function"]}]}):
            for event in client.responses.create(model=SCRIPTED, input=text, stream=True, **more):
                type(event).model_validate(event.to_dict(mode="json"))
    return joined(pieces)


def errors(url: str, key: str) -> Any:
    call = _client(url, key).responses.create
    error = refused(openai.NotFoundError, call, model=NOBODY, input=TEXT)
    assert error.code == "model_not_found"
    assert error.request_id
    return str(error)


def embeddings(url: str, key: str) -> Any:
    [one] = _client(url, key).embeddings.create(model=EMBEDDER, input=TEXT).data
    return len(one.embedding)
