"""Pydantic AI with a model of the Chat API and one of the Responses API."""

from typing import Any, Literal

import pydantic
from programs.shared import NOBODY, REAL, SCRIPTED, TEXT, WEATHER, joined, refused
from pydantic_ai import Agent
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider


class Trip(pydantic.BaseModel):
    city: Literal["Paris"]
    days: Literal[2]


def get_weather(city: str) -> str:
    """Return the weather of a city."""
    assert city == "Paris"
    return WEATHER


def _agent(url: str, key: str, model: str = SCRIPTED, kind: Any = OpenAIChatModel, **more: Any) -> Any:
    return Agent(kind(model, provider=OpenAIProvider(base_url=f"{url}/v1", api_key=key)), **more)


async def chat(url: str, key: str) -> Any:
    return (await _agent(url, key).run(TEXT)).output


async def _streamed(agent: Any) -> str:
    async with agent.run_stream(TEXT) as run:
        return joined([piece async for piece in run.stream_text(delta=True, debounce_by=None)])


async def stream(url: str, key: str) -> Any:
    return await _streamed(_agent(url, key))


async def tools(url: str, key: str) -> Any:
    return (await _agent(url, key, tools=[get_weather]).run(TEXT)).output


async def structured(url: str, key: str) -> Any:
    return (await _agent(url, key, REAL, output_type=Trip).run(TEXT)).output.model_dump()


async def responses(url: str, key: str) -> Any:
    """Text, tools and schemas by the Responses API."""
    kind = OpenAIResponsesModel
    assert (await _agent(url, key, kind=kind, tools=[get_weather]).run(TEXT)).output == WEATHER
    assert (await _agent(url, key, REAL, kind, output_type=Trip).run(TEXT)).output.days == 2
    return (await _agent(url, key, kind=kind).run(TEXT)).output


async def responses_stream(url: str, key: str) -> Any:
    return await _streamed(_agent(url, key, kind=OpenAIResponsesModel))


def errors(url: str, key: str) -> Any:
    error = refused(ModelHTTPError, _agent(url, key, NOBODY).run_sync, TEXT)
    assert error.status_code == 404
    return str(error)
