"""Engines without a server."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from jan.engine.base import Backend, Delta, Event, Finished, GenerationRequest, TextPrompt
from jan.engine.iterate import events_of
from jan.engine.rules import EngineRules
from jan.engine.runtime.executor import ThreadedEngine

Scenario = Callable[[ThreadedEngine], Awaitable[Any]]


def run_engine(
    make_backend: Callable[[], Backend], scenario: Scenario, max_waiting: int = 64, **rules: Any
) -> Any:
    """Start an engine, run a scenario on it, close it."""

    async def main() -> Any:
        engine = ThreadedEngine("test", make_backend, EngineRules(max_waiting=max_waiting, **rules))
        await engine.start(lambda part: None)
        try:
            return await asyncio.wait_for(scenario(engine), 60)
        finally:
            await engine.close()

    return asyncio.run(main())


def text_request(text: str, **options: Any) -> GenerationRequest:
    return GenerationRequest(prompt=TextPrompt(text), **options)


async def collect(engine: ThreadedEngine, request: GenerationRequest) -> list[Event]:
    return [event async for event in events_of(engine, request)]


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


def end_of(events: list[Event]) -> Finished:
    last = events[-1]
    assert isinstance(last, Finished)
    return last
