"""A connection's requests, one after the other. Those that are no HTTP get an error in the form of all others."""

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, cast

from tornado.http1connection import (
    HTTP1Connection,
    HTTP1ConnectionParameters,
    HTTP1ServerConnection,
    parse_hex_int,
)
from tornado.httputil import HTTPHeaders, HTTPInputError, HTTPMessageDelegate, HTTPServerConnectionDelegate
from tornado.iostream import IOStream, StreamClosedError, UnsatisfiableReadError

from jan.errors import JanError, PayloadTooLarge
from jan.http.request_head import MalformedRequest, malformed, parse_head

# Longest line of a chunk: its size, and extensions that nobody here knows (RFC 9112 7.1.1).
_CHUNK_LINE_BYTES = 1024
_TRAILER_LINES = 64
# Bytes of a body that are read before others get their turn. A chunk counts as at least this many bytes.
_YIELD_BYTES = 256 * 1024
_CHUNK_COST = 1024
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

#: Notes a request that reaches no handler, and returns the whole answer to it.
OnMalformed = Callable[[JanError], bytes]


class RequestRunner(HTTPMessageDelegate):
    """Takes the parts of a request as they arrive, and then runs it."""

    async def run(self) -> None:
        """Carry the request out, and answer it."""
        raise NotImplementedError


class RequestConnection(HTTP1Connection):
    """One request of a connection."""

    def __init__(
        self, stream: IOStream, params: HTTP1ConnectionParameters, context: object, on_malformed: OnMalformed
    ) -> None:
        super().__init__(stream, False, params, context)
        self._on_malformed = on_malformed

    async def serve(self, delegate: RequestRunner) -> bool:
        """Read the request and answer it. Returns False if it was the last one."""
        try:
            return await self._read_request(delegate)
        except MalformedRequest as error:
            self._refuse(error.error)
        except HTTPInputError:  # its own words may have a credential
            self._refuse(malformed("The request's query or body is malformed.").error)
        finally:
            self._clear_callbacks()
        self.close()
        return False

    async def _read_request(self, delegate: RequestRunner) -> bool:
        head = await self.stream.read_until_regex(rb"\r?\n\r?\n", max_bytes=self.params.max_header_size)
        start_line, headers = parse_head(head)
        self._request_start_line, self._request_headers = start_line, headers
        self._disconnect_on_finish = not self._can_keep_alive(start_line, headers)
        told = False
        try:
            delegate.headers_received(start_line, headers)
            if headers.get("Expect", "").lower() == "100-continue" and not self._write_finished:
                self.stream.write(_CONTINUE)
            body = self._read_body(0, headers, delegate)
            if body is not None:
                await body
            self._read_finished = told = True
        finally:
            if not told:
                delegate.on_connection_close()
        self.stream.set_close_callback(self._on_connection_close)
        if not self._write_finished:
            await delegate.run()
        if not self._finish_future.done() and not self.stream.closed():
            await self._finish_future
        return True

    def _refuse(self, error: JanError) -> None:
        """Answer a malformed request, unless an answer has begun."""
        answer = self._on_malformed(error)
        if self._response_start_line is None and not self.stream.closed():
            self.stream.write(answer).add_done_callback(_ignore)

    # --- chunks -------------------------------------------------------------------------------------

    async def _read_chunked_body(self, delegate: HTTPMessageDelegate) -> None:
        """Read chunks (RFC 9112 7.1). Extensions and trailers are skipped."""
        left, work = self._max_body_size, 0
        while size := self._size_of(await self._line()):
            left -= size
            if left < 0:
                raise MalformedRequest(PayloadTooLarge("The body is far too large."))
            work += _CHUNK_COST
            while size:
                piece = await self.stream.read_bytes(min(size, self.params.chunk_size), partial=True)
                size -= len(piece)
                await self._deliver_body(delegate, piece)
                work += len(piece)
                if work >= _YIELD_BYTES:
                    work = 0
                    await asyncio.sleep(0)
            if await self.stream.read_bytes(2) != b"\r\n":
                raise malformed("A chunk is longer than its size says.")
        await self._skip_trailers()

    async def _line(self) -> bytes:
        # Not up to CRLF, which never comes from a client that ends lines with LF.
        line = await self.stream.read_until(b"\n", max_bytes=_CHUNK_LINE_BYTES)
        if not line.endswith(b"\r\n"):
            raise malformed("A line of a chunk does not end with CRLF.")
        line = line[:-2]
        if b"\r" in line or b"\0" in line:
            raise malformed("The line of a chunk has a character that is not allowed.")
        return line

    def _size_of(self, line: bytes) -> int:
        digits, extended, _ = line.partition(b";")
        if extended:
            digits = digits.rstrip(b" \t")
        try:
            return parse_hex_int(digits.decode("latin1"))
        except ValueError:
            raise malformed("The size of a chunk is not a hexadecimal number.") from None

    async def _skip_trailers(self) -> None:
        """Check the fields after the last chunk. None of them changes the request."""
        for _ in range(_TRAILER_LINES):
            line = await self._line()
            if not line:
                return
            try:
                HTTPHeaders().parse_line(line.decode("latin1"))
            except HTTPInputError:
                raise malformed("A trailer is not 'name: value'.") from None
        raise malformed(f"There are too many trailers; allowed: {_TRAILER_LINES}.")


class ServerConnection(HTTP1ServerConnection):
    """The connection of one client, until its end."""

    def __init__(
        self, stream: IOStream, params: HTTP1ConnectionParameters, context: object, on_malformed: OnMalformed
    ) -> None:
        super().__init__(stream, params, context)
        self._on_malformed = on_malformed

    def start_serving(self, delegate: HTTPServerConnectionDelegate) -> None:
        """Serve requests until the connection ends, each in one task that also runs its handler.

        Tornado makes a task for the connection and one for each handler, and several futures.
        """
        self._context = copy_context()
        self._serve_next(delegate)

    def _serve_next(self, delegate: HTTPServerConnectionDelegate) -> None:
        # A context of its own, so that what a handler notes in it is not there for the next request.
        self._serving_future = asyncio.get_running_loop().create_task(
            self._serve_one(delegate), context=self._context.copy()
        )

    async def _serve_one(self, delegate: HTTPServerConnectionDelegate) -> None:
        going_on = False
        try:
            request = RequestConnection(self.stream, self.params, self.context, self._on_malformed)
            going_on = await request.serve(cast(RequestRunner, delegate.start_request(self, request)))
        except (StreamClosedError, UnsatisfiableReadError, asyncio.CancelledError):
            return
        finally:
            if going_on:
                self._serve_next(delegate)
            else:
                self.stream.close()
                delegate.on_close(self)


def _ignore(written: "asyncio.Future[Any]") -> None:
    """Take the error of a write to a client that has left."""
    written.exception()
