"""Sends a stream to its client: directly while it keeps up, with comments while nothing else is sent."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import perf_counter

from tornado.httputil import HTTPServerRequest
from tornado.iostream import IOStream, SSLIOStream, StreamClosedError

# A comment is one line without an empty line after it. After an event with an id, OpenAI's Python SDK takes an
# empty line for an event without data, and fails.
KEEP_ALIVE = b": keep-alive\n"


def takes_at_once(request: HTTPServerRequest, stream: IOStream) -> bool:
    """Return True if a response is followed by others on a plain connection that is ready to take it."""
    return (
        request.version == "HTTP/1.1"
        and request.method != "HEAD"
        and request.headers.get("Connection", "").lower() in ("", "keep-alive")
        and not isinstance(stream, SSLIOStream)
        and not stream.closed()
        and not stream.writing()
    )


def send_at_once(stream: IOStream, data: bytes) -> None:
    """Send a whole response, with one system call if the system has room for it."""
    sent = 0
    # Any failure is met again by the write below.
    with suppress(OSError):
        sent = stream.socket.send(data)
    if sent < len(data):
        with suppress(StreamClosedError):
            stream.write(memoryview(data)[sent:])


class EventWriter:
    """Sends a response in pieces.

    Tornado's own way makes two futures and several copies of each piece. Here a piece costs one system call if the
    client keeps up, and only a client that does not is waited for.

    - ``stream``: the connection's stream.
    - ``chunked``: True for HTTP/1.1's chunks.
    - ``head``: sent with the first piece.
    """

    __slots__ = ("_chunked", "_head", "_socket", "_straight", "_stream")

    def __init__(self, stream: IOStream, *, chunked: bool, head: bytes = b"") -> None:
        self._stream = stream
        self._chunked = chunked
        self._head = head
        # What is encrypted has to go through Tornado.
        self._socket = None if isinstance(stream, SSLIOStream) else stream.socket
        # True while the next piece can go straight to the socket: the head is out, and Tornado holds nothing.
        self._straight = False
        # Otherwise a token waits until the client's system has acknowledged the one before.
        stream.set_nodelay(True)

    def write(self, data: bytes) -> "asyncio.Future[None] | None":
        """Send a piece; returns None if the system has all of it, else what is done when it has. Raises
        StreamClosedError when the client has left."""
        # A chunk without bytes would be the end.
        if self._chunked and data:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        return self._send(data)

    def end(self, data: bytes) -> "asyncio.Future[None] | None":
        """Send the last piece and the end of the response at once; otherwise like ``write``."""
        if self._chunked:
            chunk = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
            data = chunk + b"0\r\n\r\n"
        return self._send(data)

    def _send(self, data: bytes) -> "asyncio.Future[None] | None":
        if not self._straight:
            data, self._head = self._head + data, b""
            self._straight = self._socket is not None and not self._stream.writing()
        sent = 0
        if self._straight:
            try:
                sent = self._socket.send(data)  # type: ignore[union-attr]  # there is one: it is straight
            except OSError:
                sent = 0  # the write below meets the failure again, and raises it
            if sent == len(data):
                return None
        self._straight = False
        return self._stream.write(memoryview(data)[sent:])

    @property
    def behind(self) -> bool:
        """True if the client has not taken everything that was sent."""
        return self._stream.writing()


class KeepAlive:
    """Sends ``text``, or repeats the last comment, after ``seconds`` of silence, unless something waits for the
    client.

    Uses a single timer. Times are by ``perf_counter``.
    """

    __slots__ = ("_loop", "_seconds", "_timer", "_writer", "paused", "text", "touched")

    def __init__(self, seconds: float, writer: EventWriter, text: bytes = KEEP_ALIVE) -> None:
        self._seconds = seconds
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        #: The time when something was last sent.
        self.touched = perf_counter()
        #: The comment that is repeated while nothing else is sent.
        self.text = text
        #: True while something waits for the client, which then needs no comments.
        self.paused = False
        self._timer = self._loop.call_later(seconds, self._tick)

    def _tick(self) -> None:
        now = perf_counter()
        if now >= self.touched + self._seconds:
            # A client that takes nothing needs no more data, not even a comment.
            if self.text and not self.paused and not self._writer.behind:
                with suppress(StreamClosedError):  # whoever waits for events is informed
                    self._writer.write(self.text)
            self.touched = now
        self._timer = self._loop.call_later(self.touched + self._seconds - now, self._tick)

    def stop(self) -> None:
        """Send no more comments to this client."""
        self._timer.cancel()


class Outlet:
    """Sends a stream's frames to its client: headers with the first frames, comments during silence.

    ``begin`` makes the headers and returns the writer for them and the first frames. Before that, an error can
    still be a response of its own. ``keep_alive``: sent during silence.
    """

    __slots__ = ("_begin", "_ended", "_keep_alive", "_keepalive", "_seconds", "_writer")

    def __init__(
        self, begin: Callable[[], EventWriter], keepalive_seconds: float, keep_alive: bytes = KEEP_ALIVE
    ) -> None:
        self._begin: Callable[[], EventWriter] | None = begin
        self._seconds = keepalive_seconds
        self._keep_alive = keep_alive
        self._writer: EventWriter | None = None
        self._keepalive: KeepAlive | None = None
        self._ended = False

    def send(self, frames: Sequence[bytes], at: float) -> "asyncio.Future[None] | None":
        """Send frames in one piece, at this time of ``perf_counter``; returns None if the client keeps up, else
        what is done when it has taken everything. Raises StreamClosedError when it has left."""
        return self._send(frames[0] if len(frames) == 1 else b"".join(frames), at, self._keep_alive)

    def queued(self, comment: bytes, at: float) -> "asyncio.Future[None] | None":
        """Send a comment, which is repeated while nothing else is sent."""
        return self._send(comment, at, comment)

    def _send(self, data: bytes, at: float, text: bytes) -> "asyncio.Future[None] | None":
        keepalive, writer = self._keepalive, self._writer
        if keepalive is None or writer is None:
            writer = writer or self._begun()
            keepalive = self._keepalive = KeepAlive(self._seconds, writer, self._keep_alive)
        taken = writer.write(data)
        keepalive.touched = at
        if taken is not None or keepalive.paused or keepalive.text is not text:
            keepalive.text, keepalive.paused = text, taken is not None
        return taken

    def _begun(self) -> EventWriter:
        begin, self._begin = self._begin, None
        assert begin is not None  # there is a writer from then on
        self._writer = begin()
        return self._writer

    def resume(self) -> None:
        """Send comments again. Called by whoever waited for the client and has nothing more to send now."""
        if self._keepalive is not None:
            self._keepalive.paused, self._keepalive.touched = False, perf_counter()

    def end(self, frames: Sequence[bytes], last: bytes) -> "asyncio.Future[None] | None":
        """Send the last frames, the stream's end and the response's end in one piece.

        Nothing may follow that: a second call only waits until the client has taken what the first one sent.
        """
        writer = self._writer or self._begun()
        if self._ended:
            return writer.write(b"")
        self._ended = True
        self.stop()
        return writer.end(b"".join([*frames, last]))

    def cut(self, frame: bytes) -> "asyncio.Future[None] | None":
        """Send the error that ends the stream early, and the response's end."""
        return Outlet.end(self, (frame,), b"")

    def stop(self) -> None:
        """Stop sending comments, and prevent sending headers."""
        self._begin = None
        if self._keepalive is not None:
            self._keepalive.stop()
            self._keepalive = None


async def until_taken(taken: "asyncio.Future[None] | None") -> None:
    """Wait until a client that is behind has taken what was sent."""
    if taken is not None:
        # Shielded, because Tornado logs its own futures as errors if they are cancelled.
        await asyncio.shield(taken)
