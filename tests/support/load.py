"""Shared parts of tests under load: streams byte by byte, and the memory of a server."""

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from support.raw_http import request

CHAT = "/api/v1/chat/completions"
# For a stream to begin, for its next event and for its end: what is not there by then never comes.
_SECONDS = 60


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) / 1024


def slope(samples: list[tuple[float, float]]) -> float:
    """By how much the second value grows with the first: least squares."""
    mean_x = sum(x for x, _ in samples) / len(samples)
    mean_y = sum(y for _, y in samples) / len(samples)
    spread = sum((x - mean_x) ** 2 for x, _ in samples)
    return sum((x - mean_x) * (y - mean_y) for x, y in samples) / spread


def stream_request(model: str, words: int, **more: Any) -> bytes:
    """Make a request for a stream of ``words`` words, on its own connection."""
    message = {"role": "user", "content": "word " * words}
    body = json.dumps({"model": model, "stream": True, "messages": [message], **more}).encode()
    return request("POST", CHAT, f"Content-Length: {len(body)}", "Content-Type: application/json", body=body)


class RawStream:
    """A stream whose bytes are read one event at a time, and that can be dropped at any."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def begin(cls, url: str, model: str, words: int, **more: Any) -> "RawStream":
        """Ask for a stream and read its head; the answer is a 200."""
        where = urlsplit(url)
        async with asyncio.timeout(_SECONDS):
            stream = cls(*await asyncio.open_connection(where.hostname, where.port))
            stream._writer.write(stream_request(model, words, **more))
            head = await stream._reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        return stream

    async def event(self) -> bytes:
        """The next event with its transfer encoding."""
        async with asyncio.timeout(_SECONDS):
            return await self._reader.readuntil(b"\n\n")

    async def rest(self) -> bytes:
        """Everything up to the end."""
        async with asyncio.timeout(_SECONDS):
            received = await self._reader.read()
        await self.leave()
        return received

    async def leave(self) -> None:
        """Drop the connection at once."""
        self._writer.close()
        async with asyncio.timeout(_SECONDS):
            await self._writer.wait_closed()
