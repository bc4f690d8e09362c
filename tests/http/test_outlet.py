"""Writing pieces of a stream past Tornado, on real connections."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import closing

import pytest
from tornado.iostream import IOStream, StreamClosedError

from jan.http.outlet import EventWriter, Outlet
from jan.http.sse import EventStream


def connected() -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection on loopback; the first one sends from a small buffer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), timeout=30)
        server, _ = listener.accept()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    return server, client


def with_writer(scenario: Callable[[EventWriter, IOStream, socket.socket], Coroutine[None, None, None]]) -> None:
    """Run a scenario with a writer that sends plain pieces, and its client."""

    async def run() -> None:
        server, client = connected()
        with closing(client):
            stream = IOStream(server)
            try:
                await asyncio.wait_for(scenario(EventWriter(stream, chunked=False), stream, client), 30)
            finally:
                stream.close()

    asyncio.run(run())


def test_pieces_go_out_at_once() -> None:
    """A client that keeps up is not waited for, and no piece waits for the acknowledgement of the one before."""

    async def scenario(writer: EventWriter, stream: IOStream, client: socket.socket) -> None:
        assert [writer.write(b"one"), writer.write(b"two")] == [None, None]
        assert not writer.behind
        assert await asyncio.to_thread(client.recv, 100) == b"onetwo"
        assert stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    with_writer(scenario)


def test_pieces_of_a_chunked_answer_have_their_lengths() -> None:
    async def scenario(_: EventWriter, stream: IOStream, client: socket.socket) -> None:
        assert EventWriter(stream, chunked=True).write(b"x" * 18) is None
        assert await asyncio.to_thread(client.recv, 100) == b"12\r\n" + b"x" * 18 + b"\r\n"

    with_writer(scenario)


def test_a_client_that_is_behind_gets_everything_in_order() -> None:
    """Data that the system does not take is waited for, and later data stays behind it."""
    pieces = [bytes([number]) * 1_000_000 for number in range(5)]

    async def scenario(writer: EventWriter, _: IOStream, client: socket.socket) -> None:
        waiting = [writer.write(piece) for piece in pieces]
        assert writer.behind
        received = bytearray()
        while len(received) < 5_000_000:
            received += await asyncio.to_thread(client.recv, 1 << 20)
        assert bytes(received) == b"".join(pieces)
        for taken in waiting:
            assert taken is not None
            await taken
        assert not writer.behind

    with_writer(scenario)


def test_a_client_that_left_is_told_of() -> None:
    """By StreamClosedError, sooner or later: the system may take a piece before it knows."""

    async def scenario(writer: EventWriter, stream: IOStream, client: socket.socket) -> None:
        client.close()

        async def write_on() -> None:
            while True:
                if (taken := writer.write(b"piece")) is not None:
                    await taken
                await asyncio.sleep(0.01)

        with pytest.raises(StreamClosedError):
            await write_on()
        assert stream.closed()

    with_writer(scenario)


def test_a_client_that_catches_up_gets_what_waits_for_it_and_no_comments() -> None:
    """Not even where every turn of the loop is a turn of the keep-alive, as on a machine that stood still."""

    async def events() -> AsyncGenerator[str, None]:
        for letter in "abc":
            yield letter * 1_000_000

    async def scenario(writer: EventWriter, _: IOStream, client: socket.socket) -> None:
        outlet = Outlet(lambda: writer, keepalive_seconds=0)
        pumping = asyncio.create_task(EventStream(events()).send(outlet))
        received = bytearray()
        while not received.endswith(b"data: [DONE]\n\n"):
            received += await asyncio.to_thread(client.recv, 1 << 20)
        await pumping
        assert [line[:4] for line in received.split(b"\n") if line] == [b"id: ", b"data"] * 3 + [b"data"]

    with_writer(scenario)


def test_nothing_follows_the_end() -> None:
    """A server that stops while a client is still taking the end of its stream has nothing to add, and waits."""

    async def scenario(_: EventWriter, stream: IOStream, client: socket.socket) -> None:
        outlet = Outlet(lambda: EventWriter(stream, chunked=True), keepalive_seconds=60)
        first = outlet.end([b"x" * 5_000_000], b"data: [DONE]\n\n")
        second = outlet.end([b"data: an error\n\n"], b"")
        assert first is not None
        assert second is not None
        assert not second.done()
        received = bytearray()
        while not received.endswith(b"\r\n0\r\n\r\n"):
            received += await asyncio.to_thread(client.recv, 1 << 20)
        await second
        assert first.done()
        stream.close()
        received += await asyncio.to_thread(client.recv, 1 << 20)
        assert received.endswith(b"xdata: [DONE]\n\n\r\n0\r\n\r\n")

    with_writer(scenario)
