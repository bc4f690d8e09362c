"""Server-sent events: events as frames, and streams of them. Knows nothing of what the events mean."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from time import perf_counter
from typing import Any, Generic, TypeVar

import msgspec

from jan.engine.base import Queued
from jan.errors import JanError, envelope_of
from jan.http.outlet import Outlet, until_taken

E = TypeVar("E")

DONE = b"data: [DONE]\n\n"

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


class Frames:
    """Events as frames, numbered from 1. JSON has no raw line breaks, so one line holds an event."""

    #: What ends a stream that comes to its end.
    last = DONE

    def __init__(self) -> None:
        self._encode = msgspec.json.Encoder().encode
        self._number = 0

    def each(self, event: Any) -> list[bytes]:
        """Make the frame of an event, or those of a list."""
        if isinstance(event, list):
            return [frame for one in event for frame in self.each(one)]
        self._number += 1
        return [b"id: %d\ndata: %b\n\n" % (self._number, self._encode(event))]

    def text(self, form: TextForm[Any], text: str) -> bytes:
        """Make the frame of an event of which nothing but a text is new."""
        self._number = number = self._number + 1
        return b"id: %d\ndata: %b%b%b\n\n" % (number, form.before, self._encode(text), form.after)

    def texts(self, form: TextForm[Any], texts: Sequence[str]) -> list[bytes]:
        """Make the frames of several such events."""
        first, before, encode, after = self._number + 1, form.before, self._encode, form.after
        self._number += len(texts)
        return [
            b"id: %d\ndata: %b%b%b\n\n" % (number, before, encode(text), after)
            for number, text in enumerate(texts, first)
        ]


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


class EventStream:
    """A streamed answer: what a handler returns instead of a response object. A ``Queued`` among the events goes
    out as a comment; the events of a list go out together."""

    #: What ends a stream that comes to its end.
    last = DONE

    def __init__(self, events: AsyncGenerator[Any, None]) -> None:
        self.events = events

    def encoder(self) -> Callable[[Any], Sequence[bytes]]:
        """Return what makes frames of the events, from the first one on."""
        return Frames().each

    async def send(self, outlet: Outlet) -> None:
        """Send the events until they end; raises what they raise, and StreamClosedError when the client left."""
        encode = self.encoder()
        async with aclosing(self.events) as events:
            async for event in events:
                if isinstance(event, Queued):
                    taken = outlet.queued(queue_comment(event), perf_counter())
                else:
                    taken = outlet.send(encode(event), perf_counter())
                if taken is not None:
                    await until_taken(taken)
                    outlet.resume()
        await until_taken(outlet.end((), self.last))
