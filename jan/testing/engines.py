"""Engines without a server: run one, send it requests, and read what comes."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from jan.engine.base import Backend, Delta, Engine, Event, Finished, GenerationRequest, TextPrompt
from jan.engine.iterate import events_of
from jan.engine.rules import EngineRules
from jan.engine.runtime.executor import ThreadedEngine

_SECONDS = 60.0


def run_engine(
    make: Callable[[], Backend | Engine],
    scenario: Callable[[Any], Awaitable[Any]],
    max_waiting: int = 64,
    **rules: Any,
) -> Any:
    """Start an engine, run a scenario on it, and close it; returns the scenario's result.

    ``make`` makes an Engine, or a Backend for an engine whose rules are ``rules``.
    """

    async def main() -> Any:
        made = make()
        engine: Any = made
        if not hasattr(made, "submit"):
            first: list[Any] = [made]
            engine = ThreadedEngine(
                "test",
                lambda: first.pop() if first else make(),  # type: ignore[arg-type,return-value]  # a Backend
                EngineRules(max_waiting=max_waiting, **rules),
            )
        await engine.start(lambda _part: None)
        try:
            async with asyncio.timeout(_SECONDS):
                return await scenario(engine)
        finally:
            await engine.close()

    return asyncio.run(main())


def text_request(text: str, **options: Any) -> GenerationRequest:
    """Make a request whose prompt is a text; ``options`` are the request's other fields."""
    return GenerationRequest(prompt=TextPrompt(text), **options)


async def collect(engine: Engine, request: GenerationRequest) -> list[Event]:
    """Return all events of a request. Raises the JanError that ends it."""
    return [event async for event in events_of(engine, request)]


def text_of(events: list[Event]) -> str:
    """Return the text of a request's events."""
    return "".join(event.text for event in events if isinstance(event, Delta))


def end_of(events: list[Event]) -> Finished:
    """Return the last of a request's events, which must be its end."""
    last = events[-1]
    assert isinstance(last, Finished)
    return last
