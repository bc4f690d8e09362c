"""Haystack's generators of chats and of responses, and its embedder."""

from typing import Any, Literal

import openai
import pydantic
from haystack.components.embedders import OpenAITextEmbedder
from haystack.components.generators.chat import OpenAIChatGenerator, OpenAIResponsesChatGenerator
from haystack.dataclasses import ChatMessage
from haystack.tools import tool
from haystack.utils import Secret
from programs.shared import EMBEDDER, NOBODY, REAL, SCRIPTED, TEXT, WEATHER, joined, refused

MESSAGES = [ChatMessage.from_user(TEXT)]


class Trip(pydantic.BaseModel):
    city: Literal["Paris"]
    days: Literal[2]


@tool
def get_weather(city: str) -> str:
    """Return the weather of a city."""
    assert city == "Paris"
    return WEATHER


def _run(url: str, key: str, model: str = SCRIPTED, kind: Any = OpenAIChatGenerator, **more: Any) -> Any:
    messages = more.pop("messages", MESSAGES)
    generator = kind(model=model, api_base_url=f"{url}/v1", api_key=Secret.from_token(key), **more)
    return generator.run(messages)["replies"][0]


def chat(url: str, key: str) -> Any:
    return _run(url, key).text


def _streamed(url: str, key: str, kind: Any) -> str:
    pieces: list[str] = []
    reply = _run(url, key, kind=kind, streaming_callback=lambda chunk: pieces.append(chunk.content))
    assert reply.text == joined(pieces)
    return joined(pieces)


def stream(url: str, key: str) -> Any:
    return _streamed(url, key, OpenAIChatGenerator)


def _with_tools(url: str, key: str, kind: Any) -> Any:
    called = _run(url, key, kind=kind, tools=[get_weather])
    [call] = called.tool_calls
    result = ChatMessage.from_tool(get_weather.invoke(**call.arguments), origin=call)
    return _run(url, key, kind=kind, tools=[get_weather], messages=[*MESSAGES, called, result]).text


def tools(url: str, key: str) -> Any:
    return _with_tools(url, key, OpenAIChatGenerator)


def structured(url: str, key: str) -> Any:
    reply = _run(url, key, REAL, generation_kwargs={"response_format": Trip})
    return Trip.model_validate_json(reply.text).model_dump()


def responses(url: str, key: str) -> Any:
    assert _with_tools(url, key, OpenAIResponsesChatGenerator) == WEATHER
    return _run(url, key, kind=OpenAIResponsesChatGenerator).text


def responses_stream(url: str, key: str) -> Any:
    return _streamed(url, key, OpenAIResponsesChatGenerator)


def errors(url: str, key: str) -> Any:
    return str(refused(openai.NotFoundError, _run, url, key, NOBODY))


def embeddings(url: str, key: str) -> Any:
    embedder = OpenAITextEmbedder(model=EMBEDDER, api_base_url=f"{url}/v1", api_key=Secret.from_token(key))
    return len(embedder.run(TEXT)["embedding"])
