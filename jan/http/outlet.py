"""The way of a stream's bytes to its client: the shortest while it keeps up, comments while nothing comes."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import perf_counter

from tornado.iostream import IOStream, SSLIOStream, StreamClosedError

# A comment is a line and no more: after an event with an id, OpenAI's Python SDK takes the empty line behind a
# comment for an event without data, and fails.
KEEP_ALIVE = b": keep-alive\n"


class EventWriter:
    """Sends a response in pieces. Tornado's own way makes two futures and several copies of each; here a client
    that keeps up costs one system call a piece, and only one that does not is waited for.

    ``stream`` is the connection's, ``chunked`` whether the response has HTTP/1.1's chunks, ``head`` goes out with
    the first piece.
    """

    def __init__(self, stream: IOStream, *, chunked: bool, head: bytes = b"") -> None:
        self._stream = stream
        self._chunked = chunked
        self._head = head
        # Whether Tornado may still hold something of what was sent.
        self._held = False
        # What is encrypted has to go through Tornado.
        self._socket = None if isinstance(stream, SSLIOStream) else stream.socket
        # Otherwise a token waits until the client's system has acknowledged the one before.
        stream.set_nodelay(True)

    def write(self, data: bytes) -> "asyncio.Future[None] | None":
        """Send a piece; returns None if the system has all of it, else what is done when it has. Raises
        StreamClosedError when the client has left."""
        return self._send(self._chunk(data))

    def end(self, data: bytes) -> "asyncio.Future[None] | None":
        """Send the last piece and the end of the response at once; otherwise like ``write``."""
        return self._send(self._chunk(data) + b"0\r\n\r\n" if self._chunked else data)

    def _chunk(self, data: bytes) -> bytes:
        # A chunk without bytes would be the end.
        return b"%x\r\n%b\r\n" % (len(data), data) if self._chunked and data else data

    def _send(self, data: bytes) -> "asyncio.Future[None] | None":
        if self._head:
            data, self._head = self._head + data, b""
        sent = 0
        if self._held:
            self._held = self._stream.writing()
        if not self._held and self._socket is not None:
            try:
                sent = self._socket.send(data)
            except OSError:
                sent = 0  # the write below meets the failure again, and raises it
            if sent == len(data):
                return None
        self._held = True
        return self._stream.write(memoryview(data)[sent:])

    @property
    def behind(self) -> bool:
        """True if the client has not taken everything that was sent."""
        return self._stream.writing()


class KeepAlive:
    """Sends a comment, or the last one again, when nothing was sent for ``seconds`` and nothing waits for the
    client to take it; one timer. Times are ``perf_counter``'s."""

    def __init__(self, seconds: float, writer: EventWriter) -> None:
        self._seconds = seconds
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        #: When something was sent.
        self.touched = perf_counter()
        #: What is repeated while nothing else is sent.
        self.text = KEEP_ALIVE
        #: Whether something waits for the client: then it needs no comments, and there may be more behind it.
        self.paused = False
        self._timer = self._loop.call_later(seconds, self._tick)

    def _tick(self) -> None:
        now = perf_counter()
        if now >= self.touched + self._seconds:
            # A client that does not take what is there needs no more of it, be it only a comment.
            if not self.paused and not self._writer.behind:
                with suppress(StreamClosedError):  # whoever waits for events is told
                    self._writer.write(self.text)
            self.touched = now
        self._timer = self._loop.call_later(self.touched + self._seconds - now, self._tick)

    def stop(self) -> None:
        """Send no more comments."""
        self._timer.cancel()


class Outlet:
    """The way of a stream's frames to its client: headers with the first ones, comments while there are none.

    ``begin`` makes the headers and what sends them with the first frames; until then an error can still be a
    response of its own.
    """

    def __init__(self, begin: Callable[[], EventWriter], keepalive_seconds: float) -> None:
        self._begin: Callable[[], EventWriter] | None = begin
        self._seconds = keepalive_seconds
        self._writer: EventWriter | None = None
        self._keepalive: KeepAlive | None = None

    def send(self, frames: Sequence[bytes], at: float) -> "asyncio.Future[None] | None":
        """Send frames in one piece, at this time of ``perf_counter``; returns None if the client keeps up, else
        what is done when it has taken everything. Raises StreamClosedError when it has left."""
        return self._send(frames[0] if len(frames) == 1 else b"".join(frames), at, KEEP_ALIVE)

    def queued(self, comment: bytes, at: float) -> "asyncio.Future[None] | None":
        """Send a comment, which is repeated while nothing else is sent."""
        return self._send(comment, at, comment)

    def _send(self, data: bytes, at: float, text: bytes) -> "asyncio.Future[None] | None":
        writer = self._writer or self._begun()
        keepalive = self._keepalive
        if keepalive is None:
            keepalive = self._keepalive = KeepAlive(self._seconds, writer)
        taken = writer.write(data)
        keepalive.touched, keepalive.text, keepalive.paused = at, text, taken is not None
        return taken

    def _begun(self) -> EventWriter:
        begin, self._begin = self._begin, None
        assert begin is not None  # there is a writer from then on
        self._writer = begin()
        return self._writer

    def resume(self) -> None:
        """Send comments again; to be called by whoever waited for the client and has nothing more for it now."""
        if self._keepalive is not None:
            self._keepalive.paused, self._keepalive.touched = False, perf_counter()

    def end(self, frames: Sequence[bytes], last: bytes) -> "asyncio.Future[None] | None":
        """Send the last frames, what ends the stream, and the end of the response, in one piece."""
        writer = self._writer or self._begun()
        self.stop()
        return writer.end(b"".join([*frames, last]))

    def stop(self) -> None:
        """Send no more comments, and no headers either."""
        self._begin = None
        if self._keepalive is not None:
            self._keepalive.stop()
            self._keepalive = None


async def until_taken(taken: "asyncio.Future[None] | None") -> None:
    """Wait until a client that is behind has taken what was sent."""
    if taken is not None:
        # Shielded: Tornado logs a future of its own that is cancelled as an error.
        await asyncio.shield(taken)
