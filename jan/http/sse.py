"""Server-sent events: the frames, the keep-alive, the pump. Knows nothing of what the events mean."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from typing import Any, Generic, TypeVar

import msgspec
from tornado.iostream import IOStream, SSLIOStream, StreamClosedError

from jan.engine.base import Queued
from jan.errors import JanError, envelope_of

E = TypeVar("E")

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


class TextForm(Generic[E]):
    """The form of events of which nothing but a text is new; ``make`` gives the event with a text."""

    def __init__(self, make: Callable[[str], E]) -> None:
        self.make = make
        hole: Any = msgspec.Raw(b"\0")  # a byte that no JSON has
        #: The event's JSON around the text.
        self.before, self.after = msgspec.json.encode(make(hole)).split(b"\0")


class TextRun(Generic[E]):
    """Several events in a row that are of one form: encoded once, but for their texts."""

    def __init__(self, form: TextForm[E], texts: Sequence[str]) -> None:
        self.form = form
        self.texts = texts

    def whole(self) -> E:
        """All of them as one event."""
        return self.form.make("".join(self.texts))


def events_in(item: E | list[E] | TextRun[E] | Queued) -> list[E]:
    """What an item of a stream says: a run of texts as one event, a place in the queue as none."""
    if isinstance(item, Queued):
        return []
    if isinstance(item, list):
        return item
    return [item.whole()] if isinstance(item, TextRun) else [item]


class EventStream:
    """A streamed answer: what a handler returns instead of a response object. A ``Queued`` among the events goes
    out as a comment; the events of a list or a ``TextRun`` go out together."""

    #: What a stream ends with that comes to its end.
    last = DONE

    def __init__(self, events: AsyncGenerator[Any, None]) -> None:
        self.events = events

    def encoder(self) -> Callable[[Any], bytes]:
        """What makes frames of the events, from the first one on."""
        return Frames().together


class Frames:
    """Events as frames, numbered from 1. JSON has no raw line breaks, so one line holds an event."""

    def __init__(self) -> None:
        self._encode = msgspec.json.Encoder().encode
        self._number = 0

    def each(self, event: Any) -> list[bytes]:
        """A ``data:`` event, or those of a list or run."""
        if isinstance(event, list):
            return [frame for one in event for frame in self.each(one)]
        first = self._number + 1
        if isinstance(event, TextRun):
            self._number += len(event.texts)
            before, encode, after = event.form.before, self._encode, event.form.after
            return [
                b"id: %d\ndata: %b%b%b\n\n" % (number, before, encode(text), after)
                for number, text in enumerate(event.texts, first)
            ]
        self._number = first
        return [b"id: %d\ndata: %b\n\n" % (first, self._encode(event))]

    def together(self, event: Any) -> bytes:
        """The same, in one piece."""
        return b"".join(self.each(event))


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


class EventWriter:
    """Sends pieces of a response whose headers are out. Tornado's own way makes two futures and several copies of
    each; here a client that keeps up costs one system call a piece, and only one that does not is waited for.

    ``stream`` is the connection's, ``chunked`` whether the response has HTTP/1.1's chunks.
    """

    def __init__(self, stream: IOStream, *, chunked: bool) -> None:
        self._stream = stream
        self._chunked = chunked
        # What is encrypted has to go through Tornado.
        self._socket = None if isinstance(stream, SSLIOStream) else stream.socket
        # Otherwise a token waits until the client's system has acknowledged the one before.
        stream.set_nodelay(True)

    def write(self, data: bytes) -> Awaitable[None] | None:
        """Send a piece; what to wait for until the client took it, None if the system has it all already. Raises
        StreamClosedError when the client has left."""
        if self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        sent = 0
        if self._socket is not None and not self.behind and not self._stream.closed():
            # Any failure is met again, and told of, by the write below.
            with suppress(OSError):
                sent = self._socket.send(data)
        if sent == len(data):
            return None
        # Shielded: Tornado logs a future of its own that is cancelled as an error.
        return asyncio.shield(self._stream.write(memoryview(data)[sent:]))

    @property
    def behind(self) -> bool:
        """Whether the client has not taken yet what was sent."""
        return self._stream.writing()


class KeepAlive:
    """Sends a comment, or the last one again, when nothing was sent for ``seconds`` and nothing waits for the
    client to take it; one timer."""

    def __init__(self, seconds: float, writer: EventWriter) -> None:
        self._seconds = seconds
        self._writer = writer
        self._text = KEEP_ALIVE
        self._paused = False
        self._loop = asyncio.get_running_loop()
        self._touched = self._loop.time()
        self._timer = self._loop.call_later(seconds, self._tick)

    def pause(self) -> None:
        """No comments until something was sent: it waits for the client, and there may be more behind it."""
        self._paused = True

    def sent(self, text: bytes = KEEP_ALIVE) -> None:
        """Something was sent; ``text`` is what is repeated while nothing else is."""
        self._touched, self._text, self._paused = self._loop.time(), text, False

    def _tick(self) -> None:
        now = self._loop.time()
        if now >= self._touched + self._seconds:
            # A client that does not take what is there needs no more of it, be it only a comment.
            if not self._paused and not self._writer.behind:
                with suppress(StreamClosedError):  # whoever waits for events is told
                    self._writer.write(self._text)
            self._touched = now
        self._timer = self._loop.call_at(self._touched + self._seconds, self._tick)

    def stop(self) -> None:
        """No more comments."""
        self._timer.cancel()


async def pump(
    stream: EventStream, *, begin: Callable[[bytes], Awaitable[EventWriter]], keepalive_seconds: float
) -> None:
    """Send a stream's events until it ends.

    ``begin`` sends the headers and the first frame when that is there, so an error before it can still be a
    response of its own; it gives what sends the others.
    """
    encode = stream.encoder()
    async with aclosing(stream.events) as events:
        writer = await begin(encode(await anext(events)))
        keepalive = KeepAlive(keepalive_seconds, writer)
        try:
            async for event in events:
                waits = isinstance(event, Queued)
                frame = queue_comment(event) if waits else encode(event)
                if (taken := writer.write(frame)) is not None:
                    keepalive.pause()
                    await taken
                keepalive.sent(frame if waits else KEEP_ALIVE)
        finally:
            keepalive.stop()
        if stream.last and (taken := writer.write(stream.last)) is not None:
            await taken
