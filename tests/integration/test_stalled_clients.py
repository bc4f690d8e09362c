"""Clients that stop reading, or stop sending, or leave at an awkward moment."""

import asyncio
import json
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.raw_http import request
from support.server import ECHO_CONFIG, ServerProcess

from jan.application import Server
from jan.settings.load import load_settings

pytestmark = pytest.mark.slow

CHAT = "/api/v1/chat/completions"
# More than the buffers between a server and a client that does not read hold.
_WORDS = " ".join(f"{number:04}" + "x" * 4000 for number in range(950))


def stalled_stream(server: ServerProcess) -> socket.socket:
    """A connection with a stream of which nothing has been read; it is longer than a keep-alive's time ago
    that the server could send something on it."""
    message = {"role": "user", "content": _WORDS}
    body = json.dumps({"model": "echo", "stream": True, "n": 2, "messages": [message]}).encode()
    where = urlsplit(server.url)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(10)
    connection.connect((where.hostname, where.port))
    connection.sendall(request("POST", CHAT, f"Content-Length: {len(body)}") + body)
    time.sleep(1)
    return connection


def test_a_client_that_pauses_gets_everything(echo_server: ServerProcess) -> None:
    """A client that reads nothing for longer than the keep-alive's time, and then reads on, gets the stream to
    its end; while events wait for it there are no comments."""
    with stalled_stream(echo_server) as connection:
        received = b""
        while (piece := connection.recv(1 << 20)) and b": keep-alive" not in received[-1000:]:
            received += piece
    assert b"data: [DONE]" in received[-100:]


def test_a_client_that_never_reads_does_not_hold_up_the_end(start_server: Callable[[str], ServerProcess]) -> None:
    """The server stops in time, with exit code 0 and no error in its log, although a client takes nothing."""
    server = start_server("server: {grace_seconds: 0}\nmodels: [{id: echo, engine: echo}]\n")
    with stalled_stream(server):
        server.signal(signal.SIGTERM)
        assert server.wait(15) == 0
    assert server.errors() == []


def awaited() -> set[asyncio.Task[Any]]:
    """All tasks but those in which others wait for an event: what looks for work now and then has a new one each
    time."""
    return {task for task in asyncio.all_tasks() if "Event.wait" not in repr(task.get_coro())}


def test_uploads_that_break_off_leave_nothing_behind(tmp_path: Path) -> None:
    """A client that leaves before its body is complete leaves no task waiting for the rest of it."""
    config = tmp_path / "jan.yaml"
    config.write_text(ECHO_CONFIG)

    async def break_off(url: str) -> None:
        where = urlsplit(url)
        _, writer = await asyncio.open_connection(where.hostname, where.port)
        writer.write(f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{{".encode())
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.close()
        await writer.wait_closed()

    async def scenario() -> set[asyncio.Task[Any]]:
        server = Server(load_settings(config, server__port=0, data=str(tmp_path)), show_late_key=print)
        [url] = await server.start(lambda _model, _part: None)
        before = awaited()
        await asyncio.gather(*(break_off(url) for _ in range(5)))
        for _ in range(100):
            if not (left := awaited() - before):
                break
            await asyncio.sleep(0.05)
        await server.stop()
        return left

    assert asyncio.run(scenario()) == set()
