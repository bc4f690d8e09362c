"""The head of a response, and its end: for responses that Tornado sends, and for those sent past it."""

import asyncio
import random
import re
import time
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import msgspec
from tornado.httputil import HTTPHeaders, format_timestamp
from tornado.web import RequestHandler

from jan.errors import JanError, envelope_of, status_of

_REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{1,128}$")
#: Headers of every response. What is public and may be kept (RFC 9111 5.2.2.5), or is a page, says so itself.
RESTRAINTS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
)


class PlainResponse(RequestHandler):
    """A response with the headers that all responses have. It may be sent past Tornado."""

    request_id = ""
    # True once the response is sent past Tornado.
    _sent_here = False
    # Headers that stay even if the response becomes an error.
    _kept_headers: dict[str, str]

    def clear(self) -> None:
        """Begin the response anew. Tornado calls this first, and before an error."""
        self._headers = headers = HTTPHeaders()
        headers["Content-Type"] = "text/html; charset=UTF-8"
        headers["Date"] = _http_date(int(time.time()))
        self.set_default_headers()
        self._write_buffer = []
        self._status_code, self._reason = 200, "OK"

    def set_default_headers(self) -> None:
        """Set the headers of every response: the request id, the client's own if it is well-formed, and those that
        keep caches and browsers from more than showing the answer once."""
        if not self.request_id:
            given = self.request.headers.get("X-Request-Id")
            well_formed = given is not None and _REQUEST_ID.match(given)
            self.request_id = given if well_formed else new_request_id()  # type: ignore[assignment]
        self._headers["X-Request-Id"] = self.request_id
        for name, value in RESTRAINTS:
            self._headers[name] = value

    def take_request_id(self, request_id: str | None) -> None:
        """Use an id that the body has, unless the client has sent one in the header."""
        if request_id is not None and "X-Request-Id" not in self.request.headers:
            self.request_id = request_id
            self.set_header("X-Request-Id", request_id)

    def keep_header(self, name: str, value: str) -> None:
        """Set a header that stays even if the response becomes an error, which clears the others."""
        self._kept_headers[name] = value

    def complete_headers(self) -> None:
        """Set headers that are known only just before they are sent."""
        for name, value in self._kept_headers.items():
            self.set_header(name, value)

    def response_head(self) -> bytes:
        """Return the head of the response. Whoever takes it sends all of the response; Tornado sends nothing."""
        self.complete_headers()
        # Tornado keeps cookies apart until it sends the headers.
        for cookie in getattr(self, "_new_cookie", {}).values():
            self.add_header("Set-Cookie", cookie.OutputString(None))
        self._headers_written = self._sent_here = True
        lines = [f"{name}: {value}\r\n" for name, value in self._headers.get_all()]
        return f"HTTP/1.1 {self._status_code} {self._reason}\r\n{''.join(lines)}\r\n".encode("latin1")

    def finish(self, chunk: Any = None) -> "asyncio.Future[None]":
        """End the response. One that was sent past Tornado needs no more than its books closed."""
        if not self._sent_here or self._finished:
            return super().finish(chunk)
        connection = self.request.connection
        assert connection is not None  # this request came by it
        connection.set_close_callback(None)  # type: ignore[attr-defined]  # as Tornado does
        connection.finish()
        self._finished = True
        self.on_finish()
        self._break_cycles()
        return _done()

    def flush(self, include_footers: bool = False) -> "asyncio.Future[None]":
        """Send what was written, with the headers first if they are not sent yet."""
        if self._sent_here:
            return _done()
        if not self._headers_written:
            self.complete_headers()
        return super().flush(include_footers)


def new_request_id() -> str:
    """Return a request id of our own."""
    return f"req_{random.getrandbits(96):024x}"


@lru_cache(2)
def _http_date(second: int) -> str:
    """Return the value of the Date header, for a time in seconds since 1970."""
    return format_timestamp(second)


def _done() -> "asyncio.Future[None]":
    """Return a future of something that has happened."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done.set_result(None)
    return done


def whole_answer(error: JanError, headers: str) -> bytes:
    """Return the answer that reports an error and ends the connection."""
    body = msgspec.json.encode(envelope_of(error))
    status = HTTPStatus(status_of(type(error)))
    restraints = "".join(f"{name}: {value}\r\n" for name, value in RESTRAINTS)
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n{headers}\r\n{restraints}"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
