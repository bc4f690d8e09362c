"""Ollama's Python client: chats, streams, tools of functions, formats, errors."""

from typing import Any, Literal

import ollama
import pydantic
from programs.shared import EMBEDDER, NOBODY, REAL, SCRIPTED, TEXT, WEATHER, joined, refused

MESSAGES = [{"role": "user", "content": TEXT}]


class Trip(pydantic.BaseModel):
    city: Literal["Paris"]
    days: Literal[2]


def get_weather(city: str) -> str:
    """Return the weather of a city.

    Args:
        city: its name
    """
    assert city == "Paris"
    return WEATHER


def _client(url: str, key: str) -> Any:
    return ollama.Client(host=url, headers={"Authorization": f"Bearer {key}"})


def chat(url: str, key: str) -> Any:
    client = _client(url, key)
    assert SCRIPTED in {model.model.removesuffix(":latest") for model in client.list().models}
    assert client.generate(model=SCRIPTED, prompt=TEXT).response == TEXT
    return client.chat(model=SCRIPTED, messages=MESSAGES).message.content


def stream(url: str, key: str) -> Any:
    return joined([p.message.content for p in _client(url, key).chat(SCRIPTED, MESSAGES, stream=True)])


def tools(url: str, key: str) -> Any:
    client = _client(url, key)
    called = client.chat(SCRIPTED, MESSAGES, tools=[get_weather]).message
    [call] = called.tool_calls
    result = get_weather(**call.function.arguments)
    sent = [*MESSAGES, called, {"role": "tool", "tool_name": "get_weather", "content": result}]
    return client.chat(SCRIPTED, sent, tools=[get_weather]).message.content


def structured(url: str, key: str) -> Any:
    answer = _client(url, key).chat(REAL, MESSAGES, format=Trip.model_json_schema())
    return Trip.model_validate_json(answer.message.content).model_dump()


def errors(url: str, key: str) -> Any:
    error = refused(ollama.ResponseError, _client(url, key).chat, NOBODY, MESSAGES)
    assert error.status_code == 404
    return error.error


def embeddings(url: str, key: str) -> Any:
    return len(_client(url, key).embed(EMBEDDER, TEXT).embeddings[0])
