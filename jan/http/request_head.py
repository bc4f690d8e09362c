"""Reads the head of a request (RFC 9112), more strictly than Tornado.

Where servers read a request differently, one request can be hidden in the body of another. So whatever is
ambiguous is refused.
"""

import re
from typing import Any

from tornado.http1connection import is_transfer_encoding_chunked
from tornado.httputil import HTTPHeaders, HTTPInputError, RequestStartLine, parse_request_start_line

from jan.errors import InvalidRequest, JanError

_FOLDED = re.compile(rb"\r\n[ \t]")
# A name or address, and a port (RFC 9110 7.2), without the comma: a proxy may join several headers with it.
_HOST = re.compile(r"(?:\[[0-9A-Za-z:.%_~-]+\]|(?:[A-Za-z0-9._~!$&'()*+;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?")
# Not a list of equal numbers, which RFC 9112 6.3 lets servers take for one or refuse.
_LENGTH = re.compile(r"[0-9]+")


class MalformedRequest(Exception):
    """A request that reaches no handler, with the error to answer."""

    def __init__(self, error: JanError) -> None:
        super().__init__(error.message)
        self.error = error


class RequestHeaders(HTTPHeaders):
    """The headers of a request, which is asked for a dozen of them that it does not have.

    Tornado raises and catches a KeyError for each of those.
    """

    def get(self, name: str, default: Any = None) -> Any:
        """Return a header's value, several ones joined with commas."""
        values = self.get_list(name)
        return ",".join(values) if values else default


def malformed(message: str) -> MalformedRequest:
    """Return the exception for a request that is no HTTP. The message must not have what the client sent."""
    return MalformedRequest(InvalidRequest(message, code="malformed_request"))


def too_long() -> InvalidRequest:
    """Return the error for headers of which not even the end was looked for."""
    message = "The request line and headers, or the line of a chunk, are too long."
    return InvalidRequest(message, code="headers_too_large")


def parse_head(data: bytes) -> tuple[RequestStartLine, HTTPHeaders]:
    """Return the request line and the headers. Raises MalformedRequest."""
    lines = data.count(b"\r\n")
    if data.count(b"\n") != lines or data.count(b"\r") != lines:
        raise malformed("A line of the head does not end with CRLF.")
    text = data.decode("latin1").lstrip("\r\n")
    line, _, rest = text.partition("\r\n")
    try:
        start_line = parse_request_start_line(line)
    except HTTPInputError:
        raise malformed("The request line is not 'METHOD target HTTP/1.1'.") from None
    if _FOLDED.search(data):
        raise malformed("A header is folded over several lines; allowed: one line.")
    headers = RequestHeaders()
    try:
        for field in filter(None, rest.split("\r\n")):
            name, colon, value = field.partition(":")
            # A line without a colon has no name, which is refused.
            headers.add(name if colon else "", value.strip(" \t"))
    except HTTPInputError:  # its own words may have a credential
        raise malformed("A header is not 'name: value', or has a character that is not allowed.") from None
    _check_host(start_line, headers)
    _check_framing(start_line, headers)
    return start_line, headers


def _check_host(start_line: RequestStartLine, headers: HTTPHeaders) -> None:
    """Refuse a request that names no host, or several (RFC 9112 3.2). Raises MalformedRequest."""
    hosts = headers.get_list("Host")
    if not hosts and start_line.version != "HTTP/1.0":
        raise malformed("The Host header is missing.")
    if len(hosts) > 1:
        raise malformed("There are several Host headers; allowed: one.")
    if hosts and _HOST.fullmatch(hosts[0]) is None:
        raise malformed("The Host header has a character that is not allowed.")


def _check_framing(start_line: RequestStartLine, headers: HTTPHeaders) -> None:
    """Refuse headers that leave open where the body ends. Raises MalformedRequest."""
    length = headers.get("Content-Length")
    if length is not None and _LENGTH.fullmatch(length) is None:
        raise malformed("The Content-Length is not one number of bytes.")
    if "Transfer-Encoding" not in headers:
        return
    if length is not None:
        raise malformed("There are both Content-Length and Transfer-Encoding; allowed: one of them.")
    if start_line.version == "HTTP/1.0":
        raise malformed("HTTP/1.0 has no Transfer-Encoding.")
    try:
        is_transfer_encoding_chunked(headers)
    except HTTPInputError:
        raise malformed("The Transfer-Encoding is not supported; allowed: chunked.") from None
