"""Streams that are copied while they are sent, for requests that are sent again."""

import asyncio
import zlib
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress

from tornado.iostream import StreamClosedError

from jan.http.outlet import KEEP_ALIVE, EventWriter, Outlet, until_taken
from jan.http.sse import Replay

# The first byte of a packed stream. No JSON text begins with it.
_PACKED = b"\x1e"
_PIECE_BYTES = 65536


class StreamCopy:
    """The packed frames of one stream. ``complete``: its end was reached."""

    def __init__(self) -> None:
        self.complete = False
        # Frames have much in common: they shrink to a tenth, at about a microsecond for each.
        self._packer = zlib.compressobj(1)
        self._packed = [_PACKED]

    def add(self, frames: Sequence[bytes]) -> None:
        """Add frames to the copy."""
        self._packed += [piece for frame in frames if (piece := self._packer.compress(frame))]

    def packed(self) -> bytes:
        """Return the whole stream, packed. Nothing may be added after that."""
        return b"".join([*self._packed, self._packer.flush()])


class CopyingOutlet(Outlet):
    """An outlet that copies what it sends. When the client has left, it only copies."""

    __slots__ = ("_copy",)

    def __init__(
        self,
        copy: StreamCopy,
        begin: Callable[[], EventWriter],
        keepalive_seconds: float,
        keep_alive: bytes = KEEP_ALIVE,
    ) -> None:
        super().__init__(begin, keepalive_seconds, keep_alive)
        self._copy = copy

    def send(self, frames: Sequence[bytes], at: float) -> "asyncio.Future[None] | None":
        """Copy the frames, and send them while the client is there."""
        self._copy.add(frames)
        return None if self._ended else _or_left(lambda: super(CopyingOutlet, self).send(frames, at))

    def queued(self, comment: bytes, at: float) -> "asyncio.Future[None] | None":
        """Send a comment while the client is there. It is not copied."""
        return None if self._ended else _or_left(lambda: super(CopyingOutlet, self).queued(comment, at))

    def end(self, frames: Sequence[bytes], last: bytes) -> "asyncio.Future[None] | None":
        """Copy and send the last frames and the end."""
        self._copy.add([*frames, last])
        return _or_left(lambda: super(CopyingOutlet, self).end(frames, last))


def _or_left(send: "Callable[[], asyncio.Future[None] | None]") -> "asyncio.Future[None] | None":
    """Return what to wait for, which is done too when the client leaves."""
    try:
        taken = send()
    except StreamClosedError:
        return None
    return None if taken is None else asyncio.ensure_future(_taken_or_left(taken))


async def _taken_or_left(taken: "asyncio.Future[None]") -> None:
    with suppress(StreamClosedError):
        await until_taken(taken)


def replayed(body: bytes) -> Replay | None:
    """Return the stream that a kept answer is; None for an answer that is no stream."""
    return Replay(_unpacked(body)) if body.startswith(_PACKED) else None


async def _unpacked(body: bytes) -> AsyncGenerator[bytes, None]:
    unpacker, data = zlib.decompressobj(), body.removeprefix(_PACKED)
    while data:
        yield unpacker.decompress(data, _PIECE_BYTES)
        data = unpacker.unconsumed_tail
