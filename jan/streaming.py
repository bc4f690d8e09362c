"""Server-sent events: the frames, the keep-alive, the pump. Knows nothing of what the events mean."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import msgspec

from jan.engine.base import Queued
from jan.errors import JanError, envelope_of

DONE = b"data: [DONE]\n\n"
# A comment is a line and no more: after an event with an id, OpenAI's Python SDK takes the empty line behind a
# comment for an event without data, and fails.
KEEP_ALIVE = b": keep-alive\n"

HEADERS = (
    ("Content-Type", "text/event-stream; charset=utf-8"),
    ("Cache-Control", "no-cache"),
    # Proxies such as nginx would collect the events otherwise.
    ("X-Accel-Buffering", "no"),
)


class EventStream:
    """A streamed answer: what a handler returns instead of a response object. A ``Queued`` among the events goes
    out as a comment."""

    #: What a stream ends with that comes to its end.
    last = DONE

    def __init__(self, events: AsyncGenerator[Any, None]) -> None:
        self.events = events

    def encoder(self) -> Callable[[Any], bytes]:
        """What makes frames of the events, from the first one on."""
        return Frames().frame


class Frames:
    """Events as frames, numbered from 1."""

    def __init__(self) -> None:
        self._encoder = msgspec.json.Encoder()
        self._buffer = bytearray()
        self._number = 0

    def frame(self, event: Any) -> bytes:
        """One ``data:`` event. JSON has no raw line breaks, so one line holds it."""
        self._number += 1
        beginning = b"id: %d\ndata: " % self._number
        self._encoder.encode_into(event, self._buffer, len(beginning))
        self._buffer[: len(beginning)] = beginning
        self._buffer += b"\n\n"
        return bytes(self._buffer)


async def at_once(frames: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The same frames, after one without bytes: so that the headers need not wait for the first."""
    async with aclosing(frames):
        yield b""
        async for frame in frames:
            yield frame


def error_frame(error: JanError) -> bytes:
    """An error inside a stream whose headers said 200."""
    return b"data: " + msgspec.json.encode(envelope_of(error)) + b"\n\n"


def queue_comment(queued: Queued) -> bytes:
    """Where a request stands, as a comment, which clients pass over."""
    seconds = queued.estimate_seconds
    about = "" if seconds is None else f", about {seconds} s"
    return f": queued, position {queued.position}{about}\n".encode()


class KeepAlive:
    """Calls ``comment`` when ``write`` was not used for ``seconds``; one timer, no work a token."""

    def __init__(
        self, seconds: float, write: Callable[[bytes], Awaitable[None]], comment: Callable[[bytes], None]
    ) -> None:
        self._seconds = seconds
        self._write = write
        self._comment = comment
        self._writing = False
        self._text = KEEP_ALIVE
        self._loop = asyncio.get_running_loop()
        self._touched = self._loop.time()
        self._timer = self._loop.call_later(seconds, self._tick)

    async def write(self, data: bytes, *, repeat: bytes = KEEP_ALIVE) -> None:
        """Send something; no comment goes out until the client took it, and then ``repeat`` is what goes out."""
        self._touched, self._writing, self._text = self._loop.time(), True, repeat
        await self._write(data)
        self._writing = False

    def _tick(self) -> None:
        now = self._loop.time()
        if now >= self._touched + self._seconds:
            # Tornado forgets a write under way when another begins, and who awaits it would wait for ever.
            if not self._writing:
                self._comment(self._text)
            self._touched = now
        self._timer = self._loop.call_at(self._touched + self._seconds, self._tick)

    def stop(self) -> None:
        """No more calls."""
        self._timer.cancel()


async def pump(
    stream: EventStream,
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
    encode = stream.encoder()
    async with aclosing(stream.events) as events:
        first = await anext(events)
        begin()
        keepalive = KeepAlive(keepalive_seconds, write, comment)
        try:
            await keepalive.write(encode(first))
            async for event in events:
                if isinstance(event, Queued):
                    comment_now = queue_comment(event)
                    await keepalive.write(comment_now, repeat=comment_now)
                else:
                    await keepalive.write(encode(event))
            if stream.last:
                await keepalive.write(stream.last)
        finally:
            keepalive.stop()
