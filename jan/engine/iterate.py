"""A request's events as an async iterator, for tests, tools and plugins."""

import asyncio
from collections.abc import AsyncGenerator

from jan.engine.base import Engine, Event, Failed, Finished, GenerationRequest, PreparedRequest
from jan.engine.runtime.unread import UnreadEvents


class EventReader:
    """A receiver whose events one task reads. A task that is slower than the model gets merged deltas."""

    def __init__(self) -> None:
        self._unread = UnreadEvents()
        self._waiter: asyncio.Future[None] | None = None

    def receive(self, events: list[Event], _at: float) -> None:
        """Keep the new events until they are read."""
        for event in events:
            self._unread.put(event)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def read(self) -> list[Event]:
        """Wait until there are unread events, and return all of them."""
        if not self._unread:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._unread.take()


async def events_of(engine: Engine, request: GenerationRequest | PreparedRequest) -> AsyncGenerator[Event, None]:
    """Submit a request and yield its events. Closing the iterator cancels the request.

    Usage::

        async for event in events_of(engine, request):
            if isinstance(event, Delta):
                print(event.text)

    Raises:
        JanError: if the engine refuses the request, or the request fails.
    """
    reader = EventReader()
    job_id = await engine.submit(request, reader.receive)
    try:
        while True:
            for event in await reader.read():
                if isinstance(event, Failed):
                    raise event.error()
                yield event
                if isinstance(event, Finished):
                    return
    finally:
        engine.cancel(job_id)
