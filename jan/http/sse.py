"""Server-sent events (WHATWG HTML, section 9.2): events as frames, and streams of them. Ignores what events
mean."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from time import perf_counter
from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from jan.engine.base import Queued
from jan.errors import JanError, envelope_of
from jan.http.outlet import KEEP_ALIVE, Outlet, until_taken

E = TypeVar("E")

# One encoder for all streams stays in the processor's caches.
_encode = msgspec.json.Encoder().encode

DONE = b"data: [DONE]\n\n"
# The beginning of a frame with a name, or all of it but its end.
_NAMED = b"event: %b\ndata: %b"

HEADERS = (
    ("Content-Type", "text/event-stream; charset=utf-8"),
    ("Cache-Control", "no-cache, no-store"),
    # Otherwise proxies such as nginx would buffer the events.
    ("X-Accel-Buffering", "no"),
)


def _type_of(event: Any) -> bytes:
    """Return the type of an event, which is its tag; empty if it has none."""
    tag = event.__struct_config__.tag if isinstance(event, msgspec.Struct) else None
    return str(tag or "").encode()


class TextForm(Generic[E]):
    """The form of events that differ only in one text. ``make`` makes the event for a text."""

    __slots__ = ("after", "before", "make", "named")

    def __init__(self, make: Callable[[str], E]) -> None:
        self.make = make
        hole: Any = msgspec.Raw(b"\0")  # a byte that never appears in JSON
        event = make(hole)
        #: The event's JSON before and after the text.
        self.before, self.after = msgspec.json.encode(event).split(b"\0")
        #: What is before the text in a frame that is named by the event's type.
        self.named = _NAMED % (_type_of(event), self.before)


class Frames:
    """Encodes the events of one stream as frames, numbered from 1. JSON has no raw line breaks, so one line holds
    an event. The form is OpenAI's; an API with another form extends this."""

    __slots__ = ("_number",)

    #: The headers of the response.
    headers: ClassVar[tuple[tuple[str, str], ...]] = HEADERS
    #: The frame that ends a complete stream.
    last: ClassVar[bytes] = DONE
    #: Sent while there is nothing else to send; empty if the form has nothing that clients ignore.
    keep_alive: ClassVar[bytes] = KEEP_ALIVE

    def __init__(self) -> None:
        self._number = 0

    def queued(self, event: Queued) -> bytes:
        """Encode a place in the queue."""
        return queue_comment(event)

    def error(self, error: JanError) -> bytes:
        """Encode the error that ends a stream whose status line said 200."""
        return error_frame(error)

    def each(self, event: Any) -> list[bytes]:
        """Encode an event, or a list of them, as frames."""
        if isinstance(event, list):
            return [frame for one in event for frame in self.each(one)]
        self._number += 1
        return [b"id: %d\ndata: %b\n\n" % (self._number, _encode(event))]

    def block(self, event: Any) -> bytes:
        """Encode the event of a block of HTML as a frame with the name ``block``."""
        (frame,) = self.each(event)
        return b"event: block\n" + frame

    def text(self, form: TextForm[Any], text: str) -> bytes:
        """Encode an event of this form with a text as a frame."""
        self._number = number = self._number + 1
        return b"id: %d\ndata: %b%b%b\n\n" % (number, form.before, _encode(text), form.after)

    def texts(self, form: TextForm[Any], texts: Sequence[str]) -> list[bytes]:
        """Encode several events of this form as frames."""
        first, before, after = self._number + 1, form.before, form.after
        self._number += len(texts)
        return [
            b"id: %d\ndata: %b%b%b\n\n" % (number, before, _encode(text), after)
            for number, text in enumerate(texts, first)
        ]


class TypedFrames(Frames):
    """Encodes events that have a ``type``, which is also the name of the frame. They have no numbers."""

    __slots__ = ()

    def each(self, event: Any) -> list[bytes]:
        """Encode an event, or a list of them, as frames."""
        if isinstance(event, list):
            return [frame for one in event for frame in self.each(one)]
        return [_NAMED % (_type_of(event), _encode(event)) + b"\n\n"]

    def block(self, event: Any) -> bytes:
        """Encode the event of a block of HTML, whose type is ``block``."""
        return self.each(event)[0]

    def text(self, form: TextForm[Any], text: str) -> bytes:
        """Encode an event of this form with a text as a frame."""
        return b"%b%b%b\n\n" % (form.named, _encode(text), form.after)

    def texts(self, form: TextForm[Any], texts: Sequence[str]) -> list[bytes]:
        """Encode several events of this form as frames."""
        named, after = form.named, form.after
        return [b"%b%b%b\n\n" % (named, _encode(text), after) for text in texts]


async def at_once(frames: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Yield an empty piece before the frames, so that the headers need not wait for the first frame."""
    async with aclosing(frames):
        yield b""
        async for frame in frames:
            yield frame


def error_frame(error: JanError) -> bytes:
    """Encode an error inside a stream whose status line said 200."""
    return b"data: " + msgspec.json.encode(envelope_of(error)) + b"\n\n"


def queue_comment(queued: Queued) -> bytes:
    """Encode a place in the queue as a comment, which clients ignore."""
    seconds = queued.estimate_seconds
    about = "" if seconds is None else f", about {seconds} s"
    return f": queued, position {queued.position}{about}\n".encode()


class EventStream:
    """A streamed answer, which a handler returns instead of a response object.

    A ``Queued`` among the events becomes a comment. The events of a list are sent together.
    """

    def __init__(self, events: AsyncGenerator[Any, None], frames: Frames | None = None) -> None:
        self.events = events
        #: The encoder of the events, and of an error that ends them.
        self.frames = frames or Frames()

    async def send(self, outlet: Outlet) -> None:
        """Send the events until they end. Raises their error, or StreamClosedError if the client disconnects."""
        frames = self.frames
        async with aclosing(self.events) as events:
            async for event in events:
                if isinstance(event, Queued):
                    taken = outlet.queued(frames.queued(event), perf_counter())
                else:
                    taken = outlet.send(frames.each(event), perf_counter())
                if taken is not None:
                    await until_taken(taken)
                    outlet.resume()
        await until_taken(outlet.end((), frames.last))


class KeptFrames(Frames):
    """Passes on the frames of a log, whose end is among them."""

    last = b""

    def each(self, event: bytes) -> list[bytes]:
        """Return the frame as it is."""
        return [event]


class Replay(EventStream):
    """A stream that is read from a log, whose events are already frames."""

    def __init__(self, frames: AsyncGenerator[bytes, None]) -> None:
        super().__init__(frames, KeptFrames())
