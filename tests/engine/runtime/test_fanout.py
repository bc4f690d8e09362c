"""Several sequences as one stream."""

import asyncio
from contextlib import aclosing

import pytest
from support.engine import run_engine, text_request

from jan.engine.backends.echo import EchoBackend, EchoOptions
from jan.engine.base import Delta, Finished, Started
from jan.engine.runtime.executor import ThreadedEngine
from jan.engine.runtime.fanout import fan_out
from jan.errors import InvalidRequest


def test_a_refusal_comes_before_any_event() -> None:
    """Where the last of several requests is refused, nothing of the others is seen: a server can still answer
    with a status of its own. The others are cancelled."""

    async def scenario(engine: ThreadedEngine) -> None:
        requests = [text_request("one"), text_request("two"), text_request("word " * 100)]
        async with aclosing(fan_out(engine, requests)) as events:
            with pytest.raises(InvalidRequest):
                await anext(events)
        while engine.stats.running or engine.stats.waiting:
            await asyncio.sleep(0.001)

    run_engine(lambda: EchoBackend(EchoOptions(context=50, repeat=100, step_seconds=0.001)), scenario)


def test_every_request_comes_whole() -> None:
    """However many must wait for a slot, each request has its own beginning, pieces and end."""

    async def scenario(engine: ThreadedEngine) -> None:
        requests = [text_request(f"text {number}") for number in range(5)]
        events = [event async for event in fan_out(engine, requests)]
        for index in range(5):
            own = [event for at, event in events if at == index]
            assert isinstance(own[0], Started)
            assert isinstance(own[-1], Finished)
            assert "".join(e.text for e in own if isinstance(e, Delta)) == f"text {index}"

    run_engine(lambda: EchoBackend(EchoOptions(slots=2)), scenario)


def test_a_slow_consumer_of_several_finds_deltas_merged() -> None:
    """Who fetches late gets few large deltas, as from a single request."""

    async def scenario(engine: ThreadedEngine) -> None:
        stream = fan_out(engine, [text_request("w " * 300)] * 3)
        await anext(stream)
        while engine.stats.finished < 3:
            await asyncio.sleep(0.001)
        rest = [event async for _, event in stream]
        assert sum(event.tokens for event in rest if isinstance(event, Delta)) == 900
        assert len(rest) < 30

    run_engine(lambda: EchoBackend(EchoOptions(step_seconds=0.001)), scenario)
