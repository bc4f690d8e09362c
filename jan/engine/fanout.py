"""Several sequences as one stream: ``n`` choices, or several prompts in one request."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from jan.engine.base import Engine, Event, GenerationRequest


async def fan_out(
    engine: Engine, requests: Sequence[GenerationRequest]
) -> AsyncGenerator[tuple[int, Event], None]:
    """The events of all requests, each with its request's index, as they come.

    The first error of any of them is raised, and the others are cancelled; so it is when closed.
    """
    if len(requests) == 1:
        async with aclosing(engine.submit(requests[0])) as events:
            async for event in events:
                yield 0, event
        return
    merged: asyncio.Queue[tuple[int, Event] | BaseException | None] = asyncio.Queue()
    tasks = [asyncio.create_task(_pump(engine, index, r, merged)) for index, r in enumerate(requests)]
    open_streams = len(tasks)
    try:
        while open_streams:
            item = await merged.get()
            if item is None:
                open_streams -= 1
            elif isinstance(item, BaseException):
                raise item
            else:
                yield item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(
    engine: Engine,
    index: int,
    request: GenerationRequest,
    merged: "asyncio.Queue[tuple[int, Event] | BaseException | None]",
) -> None:
    try:
        async with aclosing(engine.submit(request)) as events:
            async for event in events:
                merged.put_nowait((index, event))
    except Exception as error:  # noqa: BLE001 - carried to the consumer, which raises it
        merged.put_nowait(error)
    else:
        merged.put_nowait(None)
