"""Frames over non-blocking file descriptors: a socket, or the pipes of a child process.

Any thread may send, and never waits: what the system does not take at once is kept, and the event loop sends it. A
reader that reads nothing is cut off.
"""

import asyncio
import os
import threading
from collections.abc import Callable
from contextlib import suppress

from jan.children.framing import HEADER, framed

_CHUNK = 1 << 18
# Bytes that wait for the other side. More than this, and it is cut off.
_MOST_WAITING = 64 << 20
# Bytes of one frame. A request or a list of vectors is much smaller.
_LONGEST = 1 << 30


class FrameChannel:
    """Both directions of one connection, closed by its end. Made and closed on the event loop.

    Args:
        reads, writes: non-blocking file descriptors, which may be the same. The channel closes them.
        on_frames: called on the event loop with the frames that have come.
        on_end: called on the event loop once the other side has closed, or was cut off; not after ``close``.
        longest: most bytes of a frame from the other side.
    """

    def __init__(
        self,
        reads: int,
        writes: int,
        on_frames: Callable[[list[bytes]], None],
        on_end: Callable[[], None],
        longest: int = _LONGEST,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._reads, self._writes = reads, writes
        self._on_frames, self._on_end = on_frames, on_end
        self._longest = longest
        self._received = bytearray()
        self._waiting = bytearray()
        self._turn = threading.Lock()
        # Set while no bytes wait, as far as the event loop knows.
        self._all_sent = asyncio.Event()
        self._all_sent.set()
        self._cut_off = False
        self.closed = False
        self._loop.add_reader(reads, self._readable)

    def trust(self, on_frames: Callable[[list[bytes]], None]) -> None:
        """Take messages of any length from now on, and give them to another function."""
        self._on_frames, self._longest = on_frames, _LONGEST

    def send(self, content: bytes | bytearray) -> None:
        """Send a message, at once if the system takes it. Any thread may call it."""
        self.send_framed(framed(bytes(content)))

    def send_framed(self, frames: bytes | bytearray) -> None:
        """Send messages that are framed already."""
        with self._turn:
            if self.closed or self._cut_off:
                return
            if self._waiting:
                self._waiting += frames
                if len(self._waiting) > _MOST_WAITING:
                    self._waiting.clear()
                    self._cut_off = True  # the end of a frame is missing
                    self._loop.call_soon_threadsafe(self._end)
                return
            sent = self._write(frames)
            if sent < len(frames):
                self._waiting += memoryview(frames)[sent:]
                self._loop.call_soon_threadsafe(self._await_room)

    def _write(self, content: bytes | bytearray) -> int:
        """Write what the system takes; returns the number of bytes. Reading tells if the other side has ended."""
        try:
            return os.write(self._writes, content)
        except OSError:
            return 0

    def _await_room(self) -> None:
        if not self.closed:
            self._all_sent.clear()
            self._loop.add_writer(self._writes, self._writable)

    def _writable(self) -> None:
        with self._turn:
            del self._waiting[: self._write(self._waiting)]
            if not self._waiting:
                self._loop.remove_writer(self._writes)
                self._all_sent.set()

    def _readable(self) -> bool:
        """Read what has come, as far as it fits. Returns False if nothing has."""
        try:
            data = os.read(self._reads, _CHUNK)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:  # a peer that was killed resets its connection
            data = b""
        if not data:
            self._end()
            return False
        self._received += data
        if frames := self._complete():
            self._on_frames(frames)
        return True

    def drain(self) -> None:
        """Take all that has come, without waiting for later turns of the loop."""
        while not self.closed and self._readable():
            pass

    def _complete(self) -> list[bytes]:
        """Take the complete frames out of what was received."""
        frames, at, received = [], 0, self._received
        while len(received) - at >= HEADER:
            end = at + HEADER + int.from_bytes(received[at : at + HEADER], "big")
            if end - at > self._longest:
                self._loop.call_soon(self._end)
                break
            if end > len(received):
                break
            frames.append(bytes(received[at + HEADER : end]))
            at = end
        del received[:at]
        return frames

    def _end(self) -> None:
        if not self.closed:
            self.close()
            self._on_end()

    def close(self) -> None:
        """Close the file descriptors. What was not sent is dropped."""
        if self.closed:
            return
        with self._turn:
            self.closed = True
            self._all_sent.set()
            self._loop.remove_reader(self._reads)
            self._loop.remove_writer(self._writes)
            for descriptor in {self._reads, self._writes}:
                with suppress(OSError):
                    os.close(descriptor)

    async def flush(self, seconds: float) -> None:
        """Wait until everything is sent, at most this long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._all_sent.wait()
