"""Server-sent events: the frames, the keep-alive, the pump. Knows nothing of what the events mean."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import msgspec

from jan.errors import JanError, envelope_of

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"

HEADERS = (
    ("Content-Type", "text/event-stream; charset=utf-8"),
    ("Cache-Control", "no-cache"),
    # Proxies such as nginx would collect the events otherwise.
    ("X-Accel-Buffering", "no"),
)


class EventStream:
    """A streamed answer: what a handler returns instead of a response object."""

    def __init__(self, events: AsyncGenerator[msgspec.Struct, None]) -> None:
        self.events = events


class _Encoder:
    def __init__(self) -> None:
        self._encoder = msgspec.json.Encoder()
        self._buffer = bytearray()

    def frame(self, event: Any) -> bytes:
        """One ``data:`` event. JSON has no raw line breaks, so one line holds it."""
        self._encoder.encode_into(event, self._buffer, 6)
        self._buffer[:6] = b"data: "
        self._buffer += b"\n\n"
        return bytes(self._buffer)


def error_frame(error: JanError) -> bytes:
    """An error inside a stream whose headers said 200."""
    return b"data: " + msgspec.json.encode(envelope_of(error)) + b"\n\n"


class KeepAlive:
    """Calls ``comment`` when ``write`` was not used for ``seconds``; one timer, no work a token."""

    def __init__(
        self, seconds: float, write: Callable[[bytes], Awaitable[None]], comment: Callable[[bytes], None]
    ) -> None:
        self._seconds = seconds
        self._write = write
        self._comment = comment
        self._writing = False
        self._loop = asyncio.get_running_loop()
        self._touched = self._loop.time()
        self._timer = self._loop.call_later(seconds, self._tick)

    async def write(self, data: bytes) -> None:
        """Send what is no comment; no comment goes out until the client took it."""
        self._touched, self._writing = self._loop.time(), True
        await self._write(data)
        self._writing = False

    def _tick(self) -> None:
        now = self._loop.time()
        if now >= self._touched + self._seconds:
            # Tornado forgets a write under way when another begins, and who awaits it would wait for ever.
            if not self._writing:
                self._comment(KEEP_ALIVE)
            self._touched = now
        self._timer = self._loop.call_at(self._touched + self._seconds, self._tick)

    def stop(self) -> None:
        """No more calls."""
        self._timer.cancel()


async def pump(
    events: AsyncGenerator[msgspec.Struct, None],
    *,
    begin: Callable[[], None],
    write: Callable[[bytes], Awaitable[None]],
    comment: Callable[[bytes], None],
    keepalive_seconds: float,
) -> None:
    """Send a stream's events until it ends; ``write`` waits until the client took the bytes.

    ``begin`` (headers) is called when the first event is there, so an error before it can still be a
    response of its own.
    """
    encoder = _Encoder()
    async with aclosing(events):
        first = await anext(events)
        begin()
        keepalive = KeepAlive(keepalive_seconds, write, comment)
        try:
            await keepalive.write(encoder.frame(first))
            async for event in events:
                await keepalive.write(encoder.frame(event))
            await keepalive.write(DONE)
        finally:
            keepalive.stop()
