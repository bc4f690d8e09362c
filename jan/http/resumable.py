"""Streams that outlive their client: their frames are kept, in bounded memory, so that a client can return.

One task makes the frames and appends them to the stream's log. Any number of readers follow the log.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from operator import attrgetter
from typing import Any, Protocol, TypeVar

import structlog

from jan.auth.running import Permit, RunningWork
from jan.errors import InternalError, InvalidRequest, JanError, NotFound, Unavailable
from jan.http.sse import DONE
from jan.settings import StreamSettings
from jan.tasks import Tasks

log = structlog.get_logger(__name__)

T = TypeVar("T")

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


class LogOutlet:
    """The destination of a stream's frames on their way to its log. It never has to be waited for."""

    def __init__(self, stream_log: StreamLog, append: "Callable[[StreamLog, bytes], None]") -> None:
        self._log = stream_log
        self._append = append

    def send(self, frames: Sequence[bytes], _at: float) -> None:
        """Keep some events in the log."""
        for frame in frames:
            self._append(self._log, frame)

    def queued(self, comment: bytes, _at: float) -> None:
        """Show a place in the queue to waiting readers."""
        self._log.queued(comment)

    def resume(self) -> None:
        """Do nothing: a log is never behind."""

    def end(self, frames: Sequence[bytes], _last: bytes) -> None:
        """Keep the last events. Readers get the end once the stream's task has ended."""
        self.send(frames, 0.0)


class _DetachedStream:
    """A stream without its client, which a shutdown waits for and then ends. Readers have streams of their own."""

    streaming: bool = False

    def __init__(self, task: "asyncio.Task[Any]") -> None:
        self._task = task
        self._ending: JanError | None = None

    def shut_down(self) -> None:
        self._task.cancel()

    def end(self, error: JanError) -> None:
        """End the stream now, with an error for its readers."""
        self._ending = error
        self._task.cancel()

    @property
    def reason(self) -> JanError | None:
        """The error that ended the stream early, or None. The stream has ended."""
        if self._task.cancelled():
            shutdown = Unavailable("The server is shutting down. Try again later.", code="shutting_down")
            return self._ending or shutdown
        error = self._task.exception()
        if error is None or isinstance(error, JanError):
            return error
        log.error("stream failed", exc_info=error)
        return InternalError("The server failed to continue this stream. Its log says why.")


class Live(Protocol):
    """The running requests, as far as this module needs them; see ``services.LiveRequests``."""

    def add(self, request: _DetachedStream) -> None: ...
    def remove(self, request: _DetachedStream) -> None: ...


class StreamLogs:
    """The logs of streams that outlive their clients, and of those that ended recently."""

    def __init__(self, settings: StreamSettings, live: Live, running: RunningWork) -> None:
        self._settings = settings
        self._live = live
        self._running = running
        self._tasks = Tasks()
        self._logs: dict[str, StreamLog] = {}
        # The logs of ended streams, oldest first. They are the first to go when memory is short.
        self._ended: dict[str, StreamLog] = {}
        #: Bytes that all logs take together.
        self.size = 0

    def start(
        self, stream_id: str, permit: Permit, work: "Callable[[LogOutlet], Awaitable[T]]", about: str = ""
    ) -> "tuple[StreamLog, asyncio.Task[T]]":
        """Let ``work`` make a stream and send its frames to a log, whether or not anybody reads it.

        It ends with what ``permit`` rests on, and its readers get the error.
        """
        stream_log = self._logs[stream_id] = StreamLog(stream_id, permit.identity.owner, about)

        async def carry_out() -> T:
            return await work(LogOutlet(stream_log, self._append))

        task = self._tasks.start(carry_out())
        detached = _DetachedStream(task)
        self._live.add(detached)
        self._running.add(detached, permit)

        def ended(_: "asyncio.Task[T]") -> None:
            self._live.remove(detached)
            self._running.remove(detached)
            self._end(stream_log, detached.reason)

        task.add_done_callback(ended)
        return stream_log, task

    async def read(self, stream_log: StreamLog, number: int) -> AsyncGenerator[bytes, None]:
        """Follow a log; see ``StreamLog.after``. A log does not expire while it is read."""
        stream_log.readers += 1
        try:
            async with aclosing(stream_log.after(number)) as frames:
                async for frame in frames:
                    yield frame
        finally:
            stream_log.readers -= 1
            if stream_log.expired and not stream_log.readers:
                self._free(stream_log)

    def find(self, stream_id: str, owner: str) -> StreamLog:
        """Return the caller's log of this stream. Raises NotFound."""
        found = self._logs.get(stream_id)
        if found is None or found.owner != owner:
            raise NotFound(
                "There is no such stream of yours to resume. Streams begun with on_disconnect 'finish' are kept "
                f"until {self._settings.keep_seconds:g} seconds after their end.",
                code="stream_not_kept",
            )
        return found

    def forget_about(self, conversation_id: str) -> None:
        """Forget the streams of a conversation, which is deleted. One that still runs is forgotten at its end."""
        self._forget([kept for kept in self._logs.values() if kept.about == conversation_id])

    def forget_of(self, owner: str) -> None:
        """Forget the streams of a user, who is deleted."""
        self._forget([kept for kept in self._logs.values() if kept.owner == owner])

    def _forget(self, logs: Iterable[StreamLog]) -> None:
        for stream_log in logs:
            if stream_log.ended:
                self._expire(stream_log)
            else:
                stream_log.expired = self._logs.pop(stream_log.id) is stream_log

    def _append(self, stream_log: StreamLog, frame: bytes) -> None:
        self.size += stream_log.append(frame)
        while stream_log.size > self._settings.max_bytes:
            self.size -= stream_log.drop_oldest()
        while self.size > self._settings.max_total_bytes:
            if self._ended:
                self._free(next(iter(self._ended.values())))
            else:
                # Not from this log, whose reader may be about to get the newest events, unless it is the largest.
                self.size -= max((*self._logs.values(), stream_log), key=attrgetter("size")).drop_oldest()

    def _end(self, stream_log: StreamLog, error: JanError | None) -> None:
        stream_log.end(error)
        self._ended[stream_log.id] = stream_log
        if stream_log.expired or (error is not None and not stream_log.count):
            self._expire(stream_log)  # refused before it began: its client has the error, and no id to resume by
            return
        asyncio.get_running_loop().call_later(self._settings.keep_seconds, self._expire, stream_log)

    def _expire(self, stream_log: StreamLog) -> None:
        self._logs.pop(stream_log.id, None)
        stream_log.expired = True
        if not stream_log.readers:
            self._free(stream_log)

    def _free(self, stream_log: StreamLog) -> None:
        """Free a log that has ended. Remaining readers learn that its events are gone."""
        self._logs.pop(stream_log.id, None)
        self._ended.pop(stream_log.id, None)
        while stream_log.size:
            self.size -= stream_log.drop_oldest()
