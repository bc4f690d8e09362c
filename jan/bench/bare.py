"""The limit: a bare asyncio protocol that sends what it has in memory. `python -m jan.bench.bare PORT FILE`.

It sends a recorded answer of our server, one write a frame, and lets every other stream write in between. No
server in Python can do less. It parses no JSON, and of HTTP only a request's length. Proxies have it as their
upstream.
"""

import asyncio
import re
import sys
from collections.abc import Callable
from pathlib import Path

from jan.bench.recording import Recording, load_recording, stream_of

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_TOKENS = re.compile(rb'"max_tokens": ?(\d+)')
_PACE = re.compile(rb'"step_seconds": ?([\d.]+)')
_STREAM = re.compile(rb'"stream": ?true')
_READY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_DEFAULT_TOKENS = 64


class Pace:
    """One timer for all streams, because one step of a model makes a token for each of them."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[], None]] = []

    def wait(self, seconds: float, then: Callable[[], None]) -> None:
        """Call ``then`` at the next tick, ``seconds`` after the one before."""
        if not self._waiting:
            asyncio.get_running_loop().call_later(seconds, self._tick)
        self._waiting.append(then)

    def _tick(self) -> None:
        due, self._waiting = self._waiting, []
        for call in due:
            call()


class BareProtocol(asyncio.Protocol):
    """One connection, with one answer at a time."""

    def __init__(self, recording: Recording, pace: Pace) -> None:
        self._recording = recording
        self._pace = pace
        self._step_seconds = 0.0
        self._loop = asyncio.get_running_loop()
        self._received = b""
        self._writes: list[bytes] = []
        self._at = 0
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to write to."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Collect a request, and answer it once it is complete."""
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not separator or (length and len(body) < int(length[1])):
            return
        self._received = b""
        self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"GET"):
            self._transport.write(_READY)
        elif _STREAM.search(body):
            found = _TOKENS.search(body)
            self._writes = stream_of(self._recording, int(found[1]) if found else _DEFAULT_TOKENS)
            paced = _PACE.search(body)
            self._at, self._step_seconds = 0, float(paced[1]) if paced else 0.0
            self._step()
        else:
            self._transport.write(self._recording.whole)

    def _step(self) -> None:
        """Write one frame; the next one follows after every other stream's turn."""
        if self._paused or self._at >= len(self._writes):
            return
        self._transport.write(self._writes[self._at])
        self._at += 1
        if self._step_seconds:
            self._pace.wait(self._step_seconds, self._step)
        else:
            self._loop.call_soon(self._step)

    def pause_writing(self) -> None:
        """Stop writing: the client does not keep up."""
        self._paused = True

    def resume_writing(self) -> None:
        """Go on writing: the client has caught up."""
        self._paused = False
        self._loop.call_soon(self._step)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the rest of the answer."""
        self._writes = []


async def serve(port: int, recording: Recording) -> None:
    """Accept connections until the process ends."""
    loop, pace = asyncio.get_running_loop(), Pace()
    server = await loop.create_server(lambda: BareProtocol(recording, pace), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), load_recording(Path(sys.argv[2]))))
