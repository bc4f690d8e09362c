"""Sends a stream as a response: headers with its first event, later errors as its last event.

Tornado sends none of it, because its own way needs two more system calls for each stream and makes futures for
each piece.
"""

from functools import partial

from tornado.iostream import StreamClosedError

from jan.errors import JanError, drop_traceback
from jan.http.copied_stream import CopyingOutlet, StreamCopy
from jan.http.outlet import EventWriter, Outlet, until_taken
from jan.http.responder import Responder
from jan.http.sse import EventStream, Frames


class StreamResponder(Responder):
    """A responder that can also stream."""

    #: True while events are being sent.
    streaming = False
    _outlet: Outlet | None = None
    _frames: Frames

    async def stream(self, stream: EventStream, copy: StreamCopy | None = None) -> None:
        """Send a stream. An error before its first event is raised; a later one becomes its last event.

        With a ``copy`` the stream goes on when the client leaves.
        """
        self._frames = frames = stream.frames
        seconds = self.services.settings.server.keepalive_seconds
        kind = Outlet if copy is None else partial(CopyingOutlet, copy)
        outlet = self._outlet = kind(self._begin_stream, seconds, frames.keep_alive)
        try:
            await stream.send(outlet)
            if copy is not None:
                copy.complete = True
        except StreamClosedError:
            self.log_fields["client_left"] = True
        except Exception as error:
            if not self._headers_written:
                raise
            self.log_exception(type(error), error, error.__traceback__)
            await self.fail(self.explain(error))
            drop_traceback(error)
        finally:
            outlet.stop()

    async def fail(self, error: JanError) -> None:
        """Report an error as a response, or as the last event of a stream that has begun."""
        if not self._headers_written or self._outlet is None:
            raise error
        self.log_fields["error"] = error.code
        try:
            await until_taken(self._outlet.cut(self._frames.error(error)))
        except StreamClosedError:
            self.log_fields["client_left"] = True

    def _begin_stream(self) -> EventWriter:
        """Make the headers. Returns the writer that sends them with the first frame and then the others."""
        for name, value in self._frames.headers:
            self.set_header(name, value)
        self.set_timing()
        chunked = self.request.version == "HTTP/1.1"
        asked = self.request.headers.get("Connection", "").lower()
        if chunked:
            self.set_header("Transfer-Encoding", "chunked")
            if asked == "close":
                self.set_header("Connection", "close")
        elif asked == "keep-alive":
            self.set_header("Connection", "Keep-Alive")
        self.streaming = True
        return EventWriter(self.connection_stream, chunked=chunked, head=self.response_head())
