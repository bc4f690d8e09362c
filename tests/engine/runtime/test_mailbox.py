"""Events on their way from an engine's thread to receivers on the event loop."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from support.engine import text_request

from jan.engine.base import Delta, Event
from jan.engine.iterate import EventReader
from jan.engine.runtime.arrivals import Arrivals
from jan.engine.runtime.job import Job
from jan.engine.runtime.mailbox import Outbox


def test_a_busy_loop_is_woken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deliveries that come while the loop is busy wake it once and arrive in order; the next delivery wakes it
    again."""

    async def main() -> None:
        loop, wakes = asyncio.get_running_loop(), 0
        wake = loop.call_soon_threadsafe

        def counted(callback: Callable[..., object], *arguments: Any) -> asyncio.Handle:
            nonlocal wakes
            wakes += 1
            return wake(callback, *arguments)

        monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
        arrivals, reader, job = Arrivals("echo"), EventReader(), Job(1, text_request("hello"))
        outbox, job.receiver = Outbox(arrivals.arrive), reader.receive
        arrivals.add(job)
        for text in "one ", "two ", "three":
            outbox.put(job, Delta(text=text, tokens=1))
            outbox.deliver()
        assert wakes == 1
        assert await text_of(reader) == "one two three"
        outbox.put(job, Delta(text="four", tokens=1))
        outbox.deliver()
        assert wakes == 2
        assert await text_of(reader) == "four"

    async def text_of(reader: EventReader) -> str:
        events = await asyncio.wait_for(reader.read(), 20)
        return "".join(event.text for event in events if isinstance(event, Delta))

    asyncio.run(main())


def test_a_turn_of_the_loop_is_short() -> None:
    """Events for many jobs are handed over in several turns, each job's in order, and later events after them. A
    receiver that raises does not affect the others."""
    received: dict[int, str] = {}
    turns: list[int] = []

    def receiver(number: int, events: list[Event], _at: float) -> None:
        received[number] = received.get(number, "") + "".join(e.text for e in events if isinstance(e, Delta))
        if number == 5:
            raise ValueError("pretended")

    async def main() -> None:
        arrivals = Arrivals("echo")
        jobs = [Job(number, text_request("x"), partial(receiver, number)) for number in range(1000)]
        for job in jobs:
            arrivals.add(job)
        ids = [job.id for job in jobs]
        arrivals.arrive([(ids, [Delta(text=text, tokens=1) for _ in jobs]) for text in "ab"])
        turns.append(len(received))
        arrivals.arrive([(ids, [Delta(text="c", tokens=1) for _ in jobs])])
        while len(received) < 1000 or set(received.values()) != {"abc"}:
            await asyncio.sleep(0)
            turns.append(len(received))

    asyncio.run(asyncio.wait_for(main(), 20))
    assert turns[0] < 500
    assert len(turns) > 3
