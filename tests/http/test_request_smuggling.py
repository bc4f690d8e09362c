"""Requests that two servers could read differently: with a proxy before this one, one could be hidden in another.

Each is refused, and its connection ends, so that nothing behind it is taken for a request (RFC 9112 11.2).
"""

from collections.abc import Iterator

import pytest
from support.raw_http import exchange, parse, request

from jan.testing import served
from jan.testing.in_process import ThreadServer

BODY = b'{"model": "echo", "messages": [{"role": "user", "content": "hi"}]}'
SIZE = b"%d" % len(BODY)
HIDDEN = request("GET", "/health")


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadServer]:
    with served() as started:
        yield started
        assert started.errors == []


def chat(*headers: bytes, body: bytes = BODY, version: bytes = b"1.1") -> bytes:
    lines = [b"POST /api/v1/chat/completions HTTP/" + version, b"Host: localhost", *headers]
    return b"\r\n".join([*lines, b"", b""]) + body


def in_chunks(line: bytes, *, coding: bytes = b" chunked", end: bytes = b"\r\n", version: bytes = b"1.1") -> bytes:
    """A chat in one chunk, whose line and transfer coding are as given."""
    body = line + b"\r\n" + BODY + b"\r\n0\r\n" + end
    return chat(b"Transfer-Encoding:" + coding, body=body, version=version)


def head(*lines: bytes) -> bytes:
    return b"\r\n".join([*lines, b"", b""])


GET, HOST, LINE = b"GET /health HTTP/1.1", b"Host: localhost", b"%x" % len(BODY)
LENGTHS = {
    "twice": chat(b"Content-Length: " + SIZE, b"Content-Length: " + SIZE),
    "twice, differing": chat(b"Content-Length: " + SIZE, b"Content-Length: 0"),
    "list": chat(b"Content-Length: " + SIZE + b", " + SIZE),
    "list with an end": chat(b"Content-Length: " + SIZE + b","),
    "nothing": chat(b"Content-Length:"),
    "fraction": chat(b"Content-Length: " + SIZE + b".0"),
    "underscore": chat(b"Content-Length: 6_6"),
    "blank inside": chat(b"Content-Length: 6 6"),
    "sign": chat(b"Content-Length: +" + SIZE),
    "no-break space": chat(b"Content-Length: \xa0" + SIZE),
    "vertical tab": chat(b"Content-Length: \x0b" + SIZE),
    "next line": chat(b"Content-Length: " + SIZE + b"\x85"),
    "thousands of zeros": chat(b"Content-Length: " + b"0" * 6000 + SIZE),
    "blank before the colon": chat(b"Content-Length : " + SIZE),
    "tab before the colon": chat(b"Content-Length\t: " + SIZE),
    "NUL in the name": chat(b"Content-\x00Length: " + SIZE),
    "folded": chat(b"Content-Length:\r\n " + SIZE),
    "after a folded line": chat(b"X-A: a", b"\tContent-Length: " + SIZE),
    "after LF": chat(b"X-A: a\nContent-Length: " + SIZE),
    "after CR": chat(b"X-A: a\rContent-Length: " + SIZE),
}
CODINGS = {
    "beside a length": chat(
        b"Transfer-Encoding: chunked", b"Content-Length: " + SIZE, body=LINE + b"\r\n" + BODY + b"\r\n0\r\n\r\n"
    ),
    "behind a length of 0": chat(b"Content-Length: 0", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "HTTP/1.0": in_chunks(LINE, version=b"1.0"),
    "identity": in_chunks(LINE, coding=b" identity"),
    "chunked, identity": in_chunks(LINE, coding=b" chunked, identity"),
    "identity, chunked": in_chunks(LINE, coding=b" identity, chunked"),
    "empty list item": in_chunks(LINE, coding=b" ,chunked"),
    "nothing": in_chunks(LINE, coding=b""),
    "parameter": in_chunks(LINE, coding=b" chunked;q=1"),
    "quoted": in_chunks(LINE, coding=b' "chunked"'),
    "vertical tab": in_chunks(LINE, coding=b" chunked\x0b"),
    "NUL": in_chunks(LINE, coding=b" chunked\x00"),
    "no-break space": in_chunks(LINE, coding=b" chunked\xa0"),
    "folded": in_chunks(LINE, coding=b"\r\n chunked"),
    "LF before it": chat(b"X-A: a\nTransfer-Encoding: chunked", body=b"0\r\n\r\n"),
}
CHUNKS = {
    "0x": in_chunks(b"0x" + LINE),
    "sign": in_chunks(b"+" + LINE),
    "underscore": in_chunks(b"4_2"),
    "blank before": in_chunks(b" " + LINE),
    "blank behind": in_chunks(LINE + b" "),
    "tab behind": in_chunks(LINE + b"\t"),
    "no-break space behind": in_chunks(LINE + b"\xa0"),
    "extension with LF": in_chunks(LINE + b";a\nb"),
    "extension with CR": in_chunks(LINE + b";a\rb"),
    "extension with NUL": in_chunks(LINE + b";a\x00b"),
    "line that ends with LF": chat(b"Transfer-Encoding: chunked", body=LINE + b"\n" + BODY + b"\r\n0\r\n\r\n"),
    "data that ends with LF": chat(b"Transfer-Encoding: chunked", body=LINE + b"\r\n" + BODY + b"\n0\r\n\r\n\r\n"),
    "size that is too small": in_chunks(b"1"),
    "folded trailer": in_chunks(LINE, end=b"X-A: a\r\n b\r\n\r\n"),
    "blank before a trailer's colon": in_chunks(LINE, end=b"X-A : a\r\n\r\n"),
    "NUL in a trailer": in_chunks(LINE, end=b"X-A: \x00\r\n\r\n"),
    "trailer that ends with LF": in_chunks(LINE, end=b"X-A: a\n\r\n"),
}
HEADS = {
    "tabs in the line": head(b"GET\t/health\tHTTP/1.1", HOST),
    "two blanks in the line": head(b"GET  /health HTTP/1.1", HOST),
    "blank before the line": head(b" " + GET, HOST),
    "blank behind the line": head(GET + b" ", HOST),
    "vertical tab in the line": head(b"GET\x0b/health HTTP/1.1", HOST),
    "NUL in the target": head(b"GET /health\x00 HTTP/1.1", HOST),
    "DEL in the target": head(b"GET /health\x7f HTTP/1.1", HOST),
    "four words": head(b"GET /health /x HTTP/1.1", HOST),
    "no target": head(b"GET  HTTP/1.1", HOST),
    "bracket in the method": head(b"G(T /health HTTP/1.1", HOST),
    "version 1.10": head(b"GET /health HTTP/1.10", HOST),
    "version 01.1": head(b"GET /health HTTP/01.1", HOST),
    "version in lower case": head(b"GET /health http/1.1", HOST),
    "LF before the line": b"\n" + head(GET, HOST),
    "LF at the end": b"\n".join([GET, HOST, b"", b""]),
    "header without a name": head(GET, HOST, b": a"),
    "bracket in a name": head(GET, HOST, b"X[: a"),
    "non-ASCII name": head(GET, HOST, b"\xc3\xa9: a"),
    "blank before a name": head(GET, HOST, b" X-A: a"),
    "line of a blank": head(GET, HOST, b" "),
    "NUL in a value": head(GET, HOST, b"X-A: a\x00b"),
    "DEL in a value": head(GET, HOST, b"X-A: a\x7f"),
    "vertical tab in a value": head(GET, HOST, b"X-A: a\x0bb"),
    "the same Host twice": head(GET, HOST, HOST),
    "two ports in Host": head(GET, b"Host: localhost:80:80"),
    "user in Host": head(GET, b"Host: a@localhost"),
    "path in Host": head(GET, b"Host: localhost/x"),
    "folded Host": head(GET, b"Host:", b" localhost"),
}
AMBIGUOUS = {
    f"{kind}: {name}": data
    for kind, rows in (("length", LENGTHS), ("coding", CODINGS), ("chunk", CHUNKS), ("head", HEADS))
    for name, data in rows.items()
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_what_is_ambiguous_is_refused_and_ends_the_connection(server: ThreadServer, name: str) -> None:
    """One answer, 400 in the envelope; a request that was hidden behind it is never carried out."""
    received = exchange(server.url, AMBIGUOUS[name] + HIDDEN)
    assert received.count(b"HTTP/1.1 ") == 1
    answer = parse(received)
    assert (answer.status, answer.json()["error"]["code"]) == (400, "malformed_request")
    assert answer.headers["connection"] == "close"


PLAIN = {
    "length": chat(b"Content-Length: " + SIZE),
    "length between blanks": chat(b"Content-Length: \t" + SIZE + b" \t"),
    "chunks": in_chunks(LINE),
    "coding in capitals": in_chunks(LINE, coding=b"\tChunked "),
    "extension": in_chunks(LINE + b" ;a=b"),
    "trailer": in_chunks(LINE, end=b"X-A: a\r\n\r\n"),
    "body of a GET": head(GET, HOST, b"Content-Length: 5") + b"abcde",
    "offer of HTTP/2": head(
        GET, HOST, b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AA"
    ),
    "a line's end before the line": b"\r\n" + head(GET, HOST),
    "IPv6 in Host": head(GET, b"Host: [::1]:80"),
}


@pytest.mark.parametrize("name", PLAIN)
def test_what_is_plain_is_read_to_its_end(server: ThreadServer, name: str) -> None:
    """And what follows on the connection is the next request."""
    assert exchange(server.url, PLAIN[name] + HIDDEN).count(b"HTTP/1.1 200 ") == 2


NO_PAGE = ("default-src 'none'; frame-ancestors 'none'", "nosniff")


@pytest.mark.parametrize("path", ["/", "/health", "/api/v1/models", "/api/openapi.json", "/nowhere", "/metrics"])
def test_what_is_no_page_may_do_nothing_in_a_browser(server: ThreadServer, path: str) -> None:
    """Redirects, JSON and text run and load nothing and can't be framed, even where a browser shows them."""
    headers = server.client.get(path, follow_redirects=False).headers
    assert (headers["content-security-policy"], headers["x-content-type-options"]) == NO_PAGE


def test_neither_may_refusals_and_streams(server: ThreadServer) -> None:
    """The answer to what is no HTTP has the same restraints, and so has a stream of events."""
    refused = parse(exchange(server.url, b"nonsense\r\n\r\n")).headers
    assert (refused["content-security-policy"], refused["x-content-type-options"]) == NO_PAGE
    body = {"model": "echo", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    streamed = server.client.post("/api/v1/chat/completions", json=body).headers
    assert (streamed["content-security-policy"], streamed["x-content-type-options"]) == NO_PAGE
    page = server.client.get("/api/swagger/index.html").headers["content-security-policy"]
    assert page.startswith("default-src 'self'; ")
