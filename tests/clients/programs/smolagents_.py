"""smolagents: its model of OpenAI's API, streamed too, with a tool."""

import json
from typing import Any, Literal

import openai
from programs.shared import NOBODY, REAL, SCRIPTED, TEXT, WEATHER, joined, refused
from smolagents import ChatMessage, MessageRole, OpenAIModel, tool

MESSAGES = [ChatMessage(role=MessageRole.USER, content=[{"type": "text", "text": TEXT}])]


@tool
def get_weather(city: Literal["Paris"]) -> str:
    """Return the weather of a city.

    Args:
        city: its name
    """
    assert city == "Paris"
    return WEATHER


def _model(url: str, key: str, model: str = SCRIPTED) -> Any:
    return OpenAIModel(model, api_base=f"{url}/v1", api_key=key)


def chat(url: str, key: str) -> Any:
    return _model(url, key)(MESSAGES).content


def stream(url: str, key: str) -> Any:
    return joined([delta.content for delta in _model(url, key).generate_stream(MESSAGES)])


def tools(url: str, key: str) -> Any:
    """It always forces a call, which only the real model can be made to make."""
    call = _model(url, key, REAL)(MESSAGES, tools_to_call_from=[get_weather]).tool_calls[0]
    arguments = call.function.arguments
    return get_weather(**(json.loads(arguments) if isinstance(arguments, str) else arguments))


def errors(url: str, key: str) -> Any:
    return str(refused(openai.NotFoundError, _model(url, key, NOBODY), MESSAGES))
