"""The way from an engine's thread to the event loop."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from support.engine import text_request

from jan.engine.base import Delta, Event
from jan.engine.runtime.job import Job
from jan.engine.runtime.mailbox import Outbox
from jan.errors import JanError


def test_a_busy_loop_is_woken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many deliveries come before the loop gets to them: it is woken for the first, finds them all in
    order, and is woken again for the next."""

    async def main() -> None:
        loop, wakes = asyncio.get_running_loop(), 0
        wake = loop.call_soon_threadsafe

        def counted(callback: Callable[..., object], *arguments: Any) -> asyncio.Handle:
            nonlocal wakes
            wakes += 1
            return wake(callback, *arguments)

        monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
        outbox, job = Outbox(), Job(1, text_request("hello"))
        for text in "one ", "two ", "three":
            outbox.put(job, Delta(text=text, tokens=1))
            outbox.deliver()
        assert wakes == 1
        assert await text_of(job) == "one two three"
        outbox.put(job, Delta(text="four", tokens=1))
        outbox.deliver()
        assert wakes == 2
        assert await text_of(job) == "four"

    async def text_of(job: Job) -> str:
        items: list[Event | JanError] = await asyncio.wait_for(job.take(), 20)
        return "".join(item.text for item in items if isinstance(item, Delta))

    asyncio.run(main())
