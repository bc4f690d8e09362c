"""The numbered events of one stream, kept for clients that return."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator

from jan.errors import InvalidRequest, JanError, NotFound
from jan.http.sse import DONE

# Approximate memory of a kept event beside its bytes.
_OVERHEAD_BYTES = 48
# A reader that is behind gets this many events in one piece.
_BATCH = 64


class StreamLog:
    """The numbered events of one stream, as far as they are kept. The first is number 1."""

    def __init__(self, stream_id: str, owner: str, about: str = "") -> None:
        self.id = stream_id
        self.owner = owner
        self.about = about  # the conversation that it belongs to, if any
        #: Bytes of memory that the log takes.
        self.size = 0
        self.readers = 0
        #: True once the log can't be found any more. Its last reader frees it.
        self.expired = False
        self.ended = False
        self._error: JanError | None = None
        self._frames: deque[bytes] = deque()
        self._dropped = 0
        self._queued = b""
        self._changed = asyncio.Event()

    @property
    def count(self) -> int:
        """The number of events so far, which is the number of the last one."""
        return self._dropped + len(self._frames)

    def append(self, frame: bytes) -> int:
        """Append an event; return the growth of the log in bytes."""
        self._frames.append(frame)
        self._queued = b""
        self._wake_readers()
        grown = len(frame) + _OVERHEAD_BYTES
        self.size += grown
        return grown

    def queued(self, comment: bytes) -> None:
        """Show a comment to waiting readers. It is not kept."""
        self._queued = comment
        self._wake_readers()

    def end(self, error: JanError | None) -> None:
        """Note that the stream has ended, and why."""
        self.ended, self._error = True, error
        self._wake_readers()

    def drop_oldest(self) -> int:
        """Drop the oldest event; return the shrinkage of the log in bytes."""
        freed = len(self._frames.popleft()) + _OVERHEAD_BYTES
        self._dropped += 1
        self.size -= freed
        return freed

    def check(self, number: int) -> None:
        """Check a position to resume from. Raises InvalidRequest for a number that no event had, and NotFound if
        later events were dropped."""
        if number > self.count:
            raise InvalidRequest(
                f"The stream has no event {number} yet. Its last one is {self.count}.",
                code="invalid_last_event_id",
                param="Last-Event-ID",
            )
        if number < self._dropped:
            raise NotFound(
                f"The stream's events up to {self._dropped} are no longer kept. Resume after them.",
                code="events_not_kept",
            )

    async def after(self, number: int) -> AsyncGenerator[bytes, None]:
        """Yield the frames after an event until the end. Raises the error that ended the stream.

        Raises NotFound if the reader is so slow that its next events were dropped.
        """
        shown = b""
        while True:
            self.check(number)
            position = number - self._dropped
            if position < len(self._frames):
                stop = min(position + _BATCH, len(self._frames))
                number += stop - position
                yield b"".join([self._frames[index] for index in range(position, stop)])
            elif self._error is not None:
                raise self._error
            elif self.ended:
                yield DONE
                return
            elif self._queued and self._queued is not shown:
                shown = self._queued
                yield shown
            else:
                await self._changed.wait()

    def _wake_readers(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
