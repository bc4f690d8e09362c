"""Several sequences as one stream: ``n`` choices, or several prompts in one request."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from jan.engine.base import Engine, Event, GenerationRequest, Queued
from jan.engine.refusals import too_many_sequences


async def fan_out(
    engine: Engine, requests: Sequence[GenerationRequest]
) -> AsyncGenerator[tuple[int, Event], None]:
    """The events of all requests, each with its request's index, as they come.

    The first error of any of them is raised, and the others are cancelled; so it is when closed. No event comes
    before each request has begun, so that a refusal of any of them is raised before the first. Of their places in
    the queue only the first one's is told. Raises InvalidRequest for more than the engine ever takes of one owner.
    """
    if engine.max_sequences is not None and len(requests) > engine.max_sequences:
        raise too_many_sequences(len(requests), engine.max_sequences)
    if len(requests) == 1:
        async with aclosing(engine.submit(requests[0])) as events:
            async for event in events:
                yield 0, event
        return
    # Bounded, so that a slow consumer finds deltas merged by the engine, not queued here.
    merged: asyncio.Queue[tuple[int, Event] | BaseException | None] = asyncio.Queue(len(requests))
    tasks = [asyncio.create_task(_pump(engine, index, r, merged)) for index, r in enumerate(requests)]
    open_streams = len(tasks)
    begun: set[int] = set()
    held: list[tuple[int, Event]] = []
    try:
        while open_streams:
            item = await merged.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                open_streams -= 1
                continue
            begun.add(item[0])
            held.append(item)
            if len(begun) == len(requests):
                for pair in held:
                    yield pair
                held.clear()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # Errors of the others lead to frames that hold the queue.
        while not merged.empty():
            merged.get_nowait()


async def _pump(
    engine: Engine,
    index: int,
    request: GenerationRequest,
    merged: "asyncio.Queue[tuple[int, Event] | BaseException | None]",
) -> None:
    try:
        async with aclosing(engine.submit(request)) as events:
            async for event in events:
                if index == 0 or not isinstance(event, Queued):
                    await merged.put((index, event))
    except Exception as error:  # noqa: BLE001 - carried to the consumer, which raises it
        await merged.put(error)
    else:
        await merged.put(None)
