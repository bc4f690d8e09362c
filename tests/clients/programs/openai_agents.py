"""OpenAI's Agents SDK with its default model, which speaks the Responses API."""

from typing import Any, Literal

import agents
import openai
import pydantic
from programs.shared import NOBODY, REAL, SCRIPTED, TEXT, WEATHER, joined, refused


class Trip(pydantic.BaseModel):
    city: Literal["Paris"]
    days: Literal[2]


@agents.function_tool
def get_weather(city: str) -> str:
    """Return the weather of a city."""
    assert city == "Paris"
    return WEATHER


def _agent(url: str, key: str, model: str = SCRIPTED, **more: Any) -> agents.Agent:
    client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key)
    agents.set_default_openai_client(client, use_for_tracing=False)
    agents.set_tracing_disabled(True)
    return agents.Agent(name="Assistant", instructions="Help.", model=model, **more)


async def responses(url: str, key: str) -> Any:
    return (await agents.Runner.run(_agent(url, key), TEXT)).final_output


async def responses_stream(url: str, key: str) -> Any:
    run = agents.Runner.run_streamed(_agent(url, key), TEXT)
    pieces = [
        event.data.delta
        async for event in run.stream_events()
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
    ]
    assert joined(pieces) == run.final_output
    return joined(pieces)


async def tools(url: str, key: str) -> Any:
    return (await agents.Runner.run(_agent(url, key, tools=[get_weather]), TEXT)).final_output


async def structured(url: str, key: str) -> Any:
    run = await agents.Runner.run(_agent(url, key, REAL, output_type=Trip), TEXT)
    return run.final_output.model_dump()


def errors(url: str, key: str) -> Any:
    agent = _agent(url, key, NOBODY)
    return str(refused(openai.NotFoundError, agents.Runner.run_sync, agent, TEXT))
