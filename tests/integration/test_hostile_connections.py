"""Connections that are slow, idle or too many, and requests that are too much, on a real server."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from select import select
from urllib.parse import urlsplit

import pytest
from support.load import resident_mib
from support.patience import in_time, until
from support.raw_http import connect, exchange, parse, request
from support.server import ECHO_CONFIG, ServerProcess, http_client

from jan.http.json_structure import nested_deeper
from jan.testing import serve

pytestmark = pytest.mark.slow

CHAT = "/api/v1/chat/completions"
ServerOf = Callable[[str], ServerProcess]


@pytest.fixture
def server_with(tmp_path: Path) -> Iterator[ServerOf]:
    """Starts an echo server with more settings of its section ``server``; its log stays free of errors."""
    with ExitStack() as stack:

        def start(settings: str) -> ServerProcess:
            config = tmp_path / "jan.yaml"
            config.write_text(ECHO_CONFIG.replace("keepalive_seconds: 0.2", f"keepalive_seconds: 0.2, {settings}"))
            server = ServerProcess(config)
            stack.callback(server.kill_if_running)
            return server

        yield start


def ends(connection: socket.socket) -> bytes:
    """Return the data before the server closes. The connection's timeout keeps this from hanging."""
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionResetError:
        pass
    return received


def serves(server: ServerProcess) -> bool:
    with http_client(server) as client:
        body = {"model": "echo", "messages": [{"role": "user", "content": "hi"}]}
        return client.post(CHAT, json=body).status_code == 200


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that waits a second for a request. Its log must stay free of errors."""
    config = tmp_path_factory.mktemp("strict") / "jan.yaml"
    config.write_text(
        ECHO_CONFIG.replace("keepalive", "header_timeout_seconds: 1, body_timeout_seconds: 1, keepalive")
    )
    server = ServerProcess(config)
    yield server
    assert server.stop() == 0
    assert server.errors() == []


@pytest.mark.parametrize(
    "start",
    [b"", b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-A", b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"],
    ids=["nothing", "half a request", "idle after an answer"],
)
def test_slow_headers_and_idle_connections_are_ended(strict: ServerProcess, start: bytes) -> None:
    """A client that does not send its headers in time, a first or a next request's, is disconnected."""
    with connect(strict.url) as connection:
        connection.sendall(start)
        answer = ends(connection)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 200")
    assert serves(strict)


def test_drop_by_drop_headers_are_ended_too(strict: ServerProcess) -> None:
    """A client that keeps sending a byte now and then gains no time by it."""

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"GET /health HTTP/1.1\r\nX: ")
        for _ in range(600):
            connection.sendall(b"a")
            time.sleep(0.05)

    with connect(strict.url) as connection, pytest.raises((ConnectionResetError, BrokenPipeError)):
        drip(connection)
    assert serves(strict)


@pytest.mark.parametrize(("length", "sent"), [(100, 1), (5_000_000, 4_500_000)], ids=["small", "too large"])
def test_slow_bodies_are_ended(strict: ServerProcess, length: int, sent: int) -> None:
    """A client that does not send its body in time is disconnected, also if the body is discarded anyway."""
    with connect(strict.url) as connection:
        connection.sendall(request("POST", CHAT, f"Content-Length: {length}") + b"{" * sent)
        assert ends(connection) == b""
    assert serves(strict)


def test_a_slow_download_is_no_idle_connection(strict: ServerProcess) -> None:
    """A client that takes a whole answer for longer than a request's headers may take gets all of it, and can go
    on with the connection."""
    words = " ".join(f"{number:04}" + "x" * 4000 for number in range(950))
    body = json.dumps({"model": "echo", "messages": [{"role": "user", "content": words}]}).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    with small_connection(strict) as connection:
        connection.sendall(head.encode() + body)
        began, received = time.monotonic(), b""
        while time.monotonic() < began + 3:
            received += connection.recv(20_000)
            time.sleep(0.1)
        for piece in iter(lambda: connection.recv(1 << 20), b""):
            received += piece
            if piece.endswith(b'"}'):
                break
        connection.sendall(request("GET", "/health"))
        assert ends(connection).startswith(b"HTTP/1.1 200")
    assert parse(received).json()["choices"][0]["message"]["content"] == words


def test_five_hundred_idle_connections_hurt_nobody(server_with: ServerOf) -> None:
    """Others are served while 500 connections do nothing."""
    server = server_with("max_connections: 2000, max_connections_per_address: 1000")
    with ExitStack() as stack:
        for _ in range(500):
            stack.enter_context(connect(server.url))
        assert all(serves(server) for _ in range(5))
    assert serves(server)
    assert server.stop() == 0
    assert server.errors() == []


def refused_ids(server: ServerProcess) -> list[str]:
    """Return the ids that the log has of refused connections."""
    return [line["request_id"] for line in server.log if line["event"] == "connection refused"]


@pytest.mark.parametrize("bound", ["max_connections: 3", "max_connections_per_address: 3"])
def test_connections_in_use_are_bounded(server_with: ServerOf, bound: str) -> None:
    """While all connections have requests that run, one too many is told so and closed; when one of the others has
    ended there is room again."""
    server = server_with(bound)
    with ExitStack() as stack:
        held = [stack.enter_context(begin_stream(server)) for _ in range(3)]
        assert all(connection.recv(12) == b"HTTP/1.1 200" for connection in held)
        with connect(server.url) as one_too_many:
            refusal = parse(ends(one_too_many))
        assert refusal.status == 503
        assert refusal.json()["error"]["code"] == "too_many_connections"
        assert until(lambda: refusal.headers["x-request-id"] in refused_ids(server))
        held[0].close()
        # There is room as soon as the server has noticed.
        assert until(lambda: exchange(server.url, request("GET", "/health")).startswith(b"HTTP/1.1 200"))
    assert server.stop() == 0
    assert server.errors() == []


def connect_from(server: ServerProcess, address: str, beginning: bytes = b"") -> socket.socket:
    """Connect from a loopback address of one's own, and send the beginning of a request."""
    where = urlsplit(server.url)
    connection = socket.create_connection((where.hostname, where.port), timeout=60, source_address=(address, 0))
    connection.sendall(beginning)
    return connection


def is_open(connection: socket.socket) -> bool:
    """Return True if the server answers on a connection, and leaves it open."""
    answer = b""
    with suppress(ConnectionError):
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while not answer.endswith(b"}") and (piece := connection.recv(65536)):
            answer += piece
    return answer.startswith(b"HTTP/1.1 200")


def kept_alive(server: ServerProcess, address: str) -> socket.socket:
    """Return a connection that is idle after an answer."""
    connection = connect_from(server, address)
    assert is_open(connection)
    return connection


def test_idle_addresses_cannot_fill_the_server(server_with: ServerOf) -> None:
    """Two addresses with more idle connections than the server holds keep nobody out, whether these send nothing
    or half a head: the oldest of them end, and neither a running request nor a connection that was answered."""
    beginnings = {"127.0.0.9": b"", "127.0.0.10": b"GET /health HTTP/1.1\r\nHost: lo"}
    server = server_with("max_connections: 40, max_connections_per_address: 30, first_request_timeout_seconds: 60")
    with ExitStack() as stack:
        stream = stack.enter_context(begin_stream(server))
        assert stream.recv(12) == b"HTTP/1.1 200"
        answered = stack.enter_context(kept_alive(server, "127.0.0.11"))
        idle = [
            stack.enter_context(connect_from(server, address, beginning))
            for _ in range(45)
            for address, beginning in beginnings.items()
        ]
        assert all(serves(server) for _ in range(3))
        assert [ends(connection) for connection in idle[:2]] == [b"", b""]
        assert is_open(answered)
        assert stream.recv(1)
    assert server.stop() == 0
    assert server.errors() == []


@pytest.mark.parametrize("bound", ["max_connections: 3", "max_connections_per_address: 3"])
def test_the_connection_idle_for_longest_makes_room(server_with: ServerOf, bound: str) -> None:
    """When all connections were answered before, the one that is idle for longest ends; a new one is served."""
    server = server_with(bound)
    with ExitStack() as stack:
        first, second, third = (stack.enter_context(kept_alive(server, "127.0.0.1")) for _ in range(3))
        assert is_open(first)
        # One address's own connections give way only after they were idle for a moment.
        assert until(lambda: exchange(server.url, request("GET", "/health")).startswith(b"HTTP/1.1 200"))
        assert ends(second) == b""
        assert all(is_open(connection) for connection in (first, third))
    assert server.stop() == 0
    assert server.errors() == []


def test_an_unfinished_body_makes_room_after_a_while(server_with: ServerOf) -> None:
    """Connections whose bodies never end do not keep others out, but an upload has the time of a first request."""
    server = server_with("max_connections: 3, first_request_timeout_seconds: 1")
    unfinished = request("POST", CHAT, "Content-Length: 100000", "Content-Type: application/json") + b"{"
    with ExitStack() as stack:
        held = [stack.enter_context(connect_from(server, "127.0.0.9", unfinished)) for _ in range(3)]
        assert until(lambda: serves(server))
        ended, _, _ = select(held, [], [], 60)
        assert [ends(one) for one in ended] == [b""] * len(ended) != []
    assert server.stop() == 0
    assert server.errors() == []


def test_a_fresh_connection_has_a_shorter_time(server_with: ServerOf) -> None:
    """A connection that asks for nothing ends soon; one that was answered may stay idle for longer."""
    server = server_with("first_request_timeout_seconds: 1, header_timeout_seconds: 600")
    with connect(server.url) as fresh, kept_alive(server, "127.0.0.1") as answered:
        assert ends(fresh) == b""
        assert is_open(answered)
    assert server.stop() == 0
    assert server.errors() == []


def test_a_burst_of_clients_need_not_try_again() -> None:
    """Hundreds of clients connect while the server does something else. One whose connection is dropped would try
    again only after a second."""

    async def main() -> None:
        async with serve("extends: default\nserver: {max_connections_per_address: 1000}") as server:
            with ExitStack() as stack:
                # The server's loop is this one, so it accepts nobody meanwhile.
                clients = [stack.enter_context(connect(server.url, timeout=5)) for _ in range(300)]
                clients[-1].sendall(request("GET", "/health"))
                assert parse(await asyncio.to_thread(ends, clients[-1])).status == 200

    asyncio.run(main())


def small_connection(server: ServerProcess) -> socket.socket:
    """A connection whose client has little room for what it has not read."""
    where = urlsplit(server.url)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(60)
    connection.connect((where.hostname, where.port))
    return connection


def begin_stream(server: ServerProcess) -> socket.socket:
    """A stream that is more than all buffers hold, on a connection with little room."""
    words = " ".join(f"{number:04}" + "x" * 4000 for number in range(950))
    message = {"role": "user", "content": words}
    body = json.dumps({"model": "echo", "stream": True, "n": 2, "messages": [message]}).encode()
    connection = small_connection(server)
    connection.sendall(request("POST", CHAT, f"Content-Length: {len(body)}") + body)
    return connection


def live(server: ServerProcess) -> float:
    with http_client(server) as client:
        lines = client.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith("jan_http_live_requests ")).split()[1])


def cut_off(server: ServerProcess) -> bool:
    """Return True if a client that reads nothing was disconnected."""
    return any(entry["event"] == "client reads nothing" for entry in server.log)


def test_a_client_that_reads_nothing_is_cut_off(server_with: ServerOf) -> None:
    """Its connection ends, and the request that worked for it too."""
    server = server_with("write_timeout_seconds: 0.5")
    with begin_stream(server):
        assert until(lambda: cut_off(server))
        # The one that asks is one itself.
        assert until(lambda: live(server) <= 1)
    assert server.stop() == 0
    assert server.errors() == []


def test_a_client_that_reads_little_by_little_is_not(server_with: ServerOf) -> None:
    """A reader that is slow gets its whole stream, however long that takes, and holds up nobody."""
    server = server_with("write_timeout_seconds: 4")
    with begin_stream(server) as connection:
        began, last = time.monotonic(), b""
        # So slow that the system makes room for more only every eight seconds.
        while time.monotonic() < began + 9:
            assert connection.recv(20_000)
            time.sleep(0.4)
        assert serves(server)
        for piece in in_time(iter(lambda: connection.recv(1 << 20), b"")):
            last = (last + piece)[-200:]
        assert b"data: [DONE]" in last
    assert not cut_off(server)


def test_a_byte_a_second_holds_up_nobody_and_is_cut_off(server_with: ServerOf) -> None:
    """While a client takes a byte a second, others are answered and the server's memory is bounded. To wait for it
    would be to wait for months: it is disconnected like one that takes nothing, and its request ends."""
    server = server_with("write_timeout_seconds: 3")
    stop, ended = threading.Event(), threading.Event()
    before = resident_mib(server.pid)
    with begin_stream(server) as connection:

        def sip() -> None:
            with suppress(ConnectionError):
                while connection.recv(1) and not stop.wait(1):
                    pass
            ended.set()

        threading.Thread(target=sip, daemon=True).start()
        try:
            assert all(serves(server) for _ in range(10))
            assert until(lambda: cut_off(server))
            assert until(lambda: live(server) <= 1)
        finally:
            stop.set()
            assert ended.wait(60)
        # All that it said, several times over, and not a copy for each word.
        assert resident_mib(server.pid) - before < 60
    assert serves(server)
    assert server.stop() == 0
    assert server.errors() == []


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (request("GET", "/health?" + "a" * 9000), "url_too_long"),
        (request("GET", "/health", *(f"X-{number}: a" for number in range(101))), "headers_too_large"),
        (request("GET", "/health", "X-Long: " + "a" * 33_000), "headers_too_large"),
        (request("GET", "/nowhere", "X-Long: " + "a" * 33_000), "headers_too_large"),
    ],
)
def test_too_much_is_refused_in_words(echo_server: ServerProcess, data: bytes, code: str) -> None:
    """Long URLs, many and long headers are 400 with the envelope, at every URL."""
    refusal = parse(exchange(echo_server.url, data))
    assert refusal.status == 400
    assert refusal.json()["error"]["code"] == code
    assert refusal.headers["x-request-id"]


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 101 + "1" + "}" * 101, '{"messages": ' + "[" * 120])
def test_deep_json_is_refused(echo_server: ServerProcess, text: str) -> None:
    """JSON that is nested too deeply is a 400 that says how deep it may be."""
    with http_client(echo_server) as client:
        refusal = client.post(CHAT, content=text, headers={"Content-Type": "application/json"})
    assert refusal.status_code == 400
    assert refusal.json()["error"]["code"] == "json_too_deep"
    assert "100 levels" in refusal.json()["error"]["message"]


@pytest.mark.parametrize(
    ("text", "deep"),
    [
        ("[" * 8 + "]" * 8, False),
        ("[" * 9 + "]" * 9, True),
        ('{"a":' * 9 + "1" + "}" * 9, True),
        ('["' + "[{" * 50 + '"]', False),
        ('["\\"' + "[" * 50 + '\\\\"]', False),
        ("[" + "[]," * 5000 + "[]]", False),
        ("[" + "[]," * 5000 + "[" * 9, True),
        (("[" * 8 + "]" * 8) * 20_000, False),
        (("[" * 8 + "]" * 8) * 20_000 + "[" * 9, True),
        ("[" * 4 + "[[[[]]],[]]" * 20_000, False),
        ("[" * 5 + "[[[[]]],[]]" * 20_000, True),
        ('["' + "\\\\" * 9 + '"' + ',"[[]]"' * 9 + "]", False),
    ],
)
def test_depth_is_counted_outside_texts(text: str, deep: bool) -> None:
    """Brackets inside texts and beside each other are no depth."""
    assert nested_deeper(text.encode(), 8) is deep


def test_bodies_that_never_end_leave_room_for_others(server_with: ServerOf) -> None:
    """One address has no more than half of the memory for bodies: what is beyond that is thrown away and refused,
    with words on when to come again; small requests go on meanwhile, and when the bodies end there is room."""
    server = server_with("max_body_bytes: 1048576, max_bodies_bytes: 4194304")
    beginning = request("POST", CHAT, "Content-Length: 1000000", "Content-Type: application/json")
    with ExitStack() as stack, http_client(server) as client:
        large = {"model": "echo", "messages": [{"role": "user", "content": "x " * 300_000}]}

        def refused() -> bool:
            # Anew each time: a body that comes before these are read has their room, and they are thrown away.
            stack.close()
            for _ in range(2):
                stack.enter_context(connect(server.url)).sendall(beginning + b" " * 999_000)
            assert all(serves(server) for _ in range(10))
            answer = client.post(CHAT, json=large)
            return (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")

        assert until(refused)
        assert int(client.post(CHAT, json=large).headers["retry-after"]) > 0
        assert serves(server)
        stack.close()
        # As before the flood: too long for the model, which is what it hears then.
        assert until(lambda: client.post(CHAT, json=large).status_code == 400)
    assert server.stop() == 0
    assert server.errors() == []
