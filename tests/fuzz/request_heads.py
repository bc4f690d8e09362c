"""Heads of requests and bodies in chunks. Read as RFC 9112 says, or refused; never two requests for one."""

import asyncio
import socket
from collections.abc import Iterable
from contextlib import closing, suppress

from tornado.http1connection import HTTP1ConnectionParameters
from tornado.httputil import HTTPHeaders, RequestStartLine, ResponseStartLine
from tornado.iostream import IOStream, StreamClosedError, UnsatisfiableReadError

from fuzz.event_loop import runner
from fuzz.given import Given, cut
from fuzz.refusals import check_refusal
from jan.errors import JanError
from jan.http.request_connection import RequestConnection, RequestRunner
from jan.http.request_head import MalformedRequest, parse_head

_HEAD = b"POST /v1/chat/completions?a=b HTTP/1.1\r\nHost: localhost:1337\r\nX-A: b\r\n"
_ROOM = 1 << 16
_PARAMETERS = HTTP1ConnectionParameters(max_header_size=_ROOM, max_body_size=_ROOM)
_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def words() -> Iterable[bytes]:
    """Yield what heads and chunks are made of."""
    yield from (b"Content-Length: ", b"Transfer-Encoding: chunked", b"Expect: 100-continue", b"Connection: close")
    yield from (b"GET / HTTP/1.1\r\n", b"Host: ", b"HTTP/1.0", b"\r\n\r\n", b"\r\n", b"0\r\n\r\n", b", ")
    yield from b"5\r\nhello\r\n ;a=b chunked,chunked \t \x00 \x0b \x85 \xa0 ffffffffffffffff".split(b" ")


def seeds() -> Iterable[bytes]:
    """Yield right requests."""
    yield b"\0" + _HEAD + b"Content-Length: 5\r\n\r\nhello"
    yield b"\1" + _HEAD + b"Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX-B: c\r\n\r\n"
    yield b"\2GET / HTTP/1.0\r\n\r\n"
    yield b"\3" + _HEAD + b"Expect: 100-continue\r\nConnection: close\r\n\r\n"


def check(data: bytes) -> None:
    """Read one request, in whole and cut into pieces."""
    given = Given(data)
    size, sent = given.byte() % 16 + 1, given.rest()
    head, found, _ = sent.partition(b"\r\n\r\n")
    if found:
        _check_head(head + found)
    whole = runner().run(_read([sent]))
    assert runner().run(_read(cut(sent, size))) == whole, sent


def _check_head(head: bytes) -> None:
    try:
        start_line, headers = parse_head(head)
    except MalformedRequest as error:
        check_refusal(error.error)
        return
    # A later minor version is read as 1.1 (RFC 9110 6.2).
    assert start_line.version[:-1] == "HTTP/1."
    assert start_line.method
    assert set(start_line.method.encode("latin1")) <= _TOKEN
    assert not set(start_line.path) & set(" \t\r\n\0"), start_line
    for name, value in headers.get_all():
        assert set(name.encode("latin1")) <= _TOKEN, name
        assert not set(value) & set("\r\n\0"), value
    framing = [name for name in ("Content-Length", "Transfer-Encoding") if name in headers]
    assert len(framing) < 2
    for name in framing:
        assert len(headers.get_list(name)) == 1, headers
    # A head that is written again as it was understood means the same.
    lines = [f"{start_line.method} {start_line.path} {start_line.version}"]
    lines += [f"{name}: {value}" for name, value in headers.get_all()]
    again_line, again = parse_head("\r\n".join([*lines, "", ""]).encode("latin1"))
    assert (again_line, list(again.get_all())) == (start_line, list(headers.get_all()))


class Heard(RequestRunner):
    """What a connection has read of one request."""

    def __init__(self) -> None:
        self.head: tuple[str, str] | None = None
        self.body = b""
        self.complete = False
        self.error: JanError | None = None

    def headers_received(self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders) -> None:
        """Note the request line."""
        assert isinstance(start_line, RequestStartLine)
        self.head = (start_line.method, start_line.path)

    def data_received(self, chunk: bytes) -> None:
        """Note a part of the body."""
        self.body += chunk

    async def run(self) -> None:
        """Note that the request is complete. No answer follows."""
        self.complete = True
        raise StreamClosedError

    def malformed(self, error: JanError) -> bytes:
        """Note why there is no request."""
        self.error = error
        return b""

    @property
    def outcome(self) -> tuple[object, ...]:
        """All that must not depend on how the bytes arrive, without the parts of a body that breaks off."""
        error = None if self.error is None else (self.error.code, self.error.message)
        return self.head, self.complete, self.complete and self.body, error


async def _read(pieces: list[bytes]) -> tuple[object, ...]:
    """Send bytes over a real socket, and return what came of them."""
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.setblocking(False)
        stream, heard = IOStream(ours, max_buffer_size=_ROOM), Heard()
        connection = RequestConnection(stream, _PARAMETERS, None, heard.malformed)
        reading = asyncio.create_task(connection.serve(heard))
        with suppress(ConnectionError):  # it may have read enough
            for piece in pieces:
                await asyncio.sleep(0)
                if reading.done():  # nobody reads what follows
                    break
                await asyncio.get_running_loop().sock_sendall(theirs, piece)
            theirs.shutdown(socket.SHUT_WR)
        with suppress(StreamClosedError, UnsatisfiableReadError), closing(stream):
            await reading
    if heard.error is not None:
        check_refusal(heard.error)
    return heard.outcome
