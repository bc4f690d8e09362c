"""Streams that go on without their client: what they said is kept, bounded, so that a client can come back.

One task makes the frames and appends them to the stream's log; any number of readers follow the log.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from operator import attrgetter
from typing import Any, Protocol, TypeVar

import structlog

from jan.errors import InternalError, InvalidRequest, JanError, NotFound, Unavailable
from jan.http.sse import DONE, EventStream
from jan.settings import StreamSettings
from jan.tasks import Tasks

log = structlog.get_logger(__name__)

T = TypeVar("T")

# What a kept event takes beside its bytes, about.
_OVERHEAD_BYTES = 48
# A reader that is behind gets so many events in one piece.
_BATCH = 64


class Replay(EventStream):
    """A stream that is read from a log: its events are frames already."""

    last = b""

    def encoder(self) -> Callable[[bytes], Sequence[bytes]]:
        """See ``EventStream``."""
        return lambda frame: (frame,)


class StreamLog:
    """The events of one stream, numbered from 1, as far as they are kept."""

    def __init__(self, stream_id: str, owner: str) -> None:
        self.id = stream_id
        self.owner = owner
        #: Bytes that the log takes.
        self.size = 0
        self.readers = 0
        #: Whether it can't be found any more; it is freed when its last reader is through.
        self.expired = False
        self.ended = False
        self._error: JanError | None = None
        self._frames: deque[bytes] = deque()
        self._dropped = 0
        self._queued = b""
        self._news = asyncio.Event()

    @property
    def count(self) -> int:
        """How many events there were so far: the number of the last one."""
        return self._dropped + len(self._frames)

    def append(self, frame: bytes) -> int:
        """One more event; returns by how much the log grew."""
        self._frames.append(frame)
        self._queued = b""
        self._tell()
        grown = len(frame) + _OVERHEAD_BYTES
        self.size += grown
        return grown

    def queued(self, comment: bytes) -> None:
        """Readers that wait are told this; it is not kept."""
        self._queued = comment
        self._tell()

    def end(self, error: JanError | None) -> None:
        """Nothing more comes, for this reason."""
        self.ended, self._error = True, error
        self._tell()

    def drop_oldest(self) -> int:
        """Forget the oldest event; returns by how much the log shrank."""
        freed = len(self._frames.popleft()) + _OVERHEAD_BYTES
        self._dropped += 1
        self.size -= freed
        return freed

    def check(self, number: int) -> None:
        """Raises InvalidRequest for a number that no event had, NotFound if what came after it is not kept."""
        if number > self.count:
            raise InvalidRequest(
                f"the last event of this stream so far is {self.count}; there is no {number}",
                code="invalid_last_event_id",
                param="Last-Event-ID",
            )
        if number < self._dropped:
            raise NotFound(
                f"the events up to {self._dropped} of this stream are no longer kept; resume after them",
                code="events_not_kept",
            )

    async def after(self, number: int) -> AsyncGenerator[bytes, None]:
        """The frames that come after an event, and the end; raises what ended the stream, and NotFound when the
        reader is so slow that what it is to get was dropped."""
        told = b""
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
            elif self._queued and self._queued is not told:
                told = self._queued
                yield told
            else:
                await self._news.wait()

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


class LogOutlet:
    """Where a stream's frames go on their way to its log; nothing ever waits for it."""

    def __init__(self, stream_log: StreamLog, append: "Callable[[StreamLog, bytes], None]") -> None:
        self._log = stream_log
        self._append = append

    def send(self, frames: Sequence[bytes], _at: float) -> None:
        """Keep some events."""
        for frame in frames:
            self._append(self._log, frame)

    def queued(self, comment: bytes, _at: float) -> None:
        """Tell readers that wait of a place in the queue."""
        self._log.queued(comment)

    def resume(self) -> None:
        """Nothing waits for a log."""

    def end(self, frames: Sequence[bytes], _last: bytes) -> None:
        """Keep the last events. Readers get the end when the stream's task has ended."""
        self.send(frames, 0.0)


class _DetachedStream:
    """What the shutdown waits for, and ends. The streams are those of its readers."""

    streaming: bool = False

    def __init__(self, task: "asyncio.Task[Any]") -> None:
        self._task = task

    def shut_down(self) -> None:
        self._task.cancel()


class Live(Protocol):
    """What is under way; ``services.LiveRequests``."""

    def add(self, request: _DetachedStream) -> None: ...
    def remove(self, request: _DetachedStream) -> None: ...


class StreamLogs:
    """The logs of the streams that go on without their clients, and of those that ended not long ago."""

    def __init__(self, settings: StreamSettings, live: Live) -> None:
        self._settings = settings
        self._live = live
        self._tasks = Tasks()
        self._logs: dict[str, StreamLog] = {}
        # Those that ended, oldest first: the first to go when there is no room.
        self._ended: dict[str, StreamLog] = {}
        #: Bytes that all logs take together.
        self.size = 0

    def start(
        self, stream_id: str, owner: str, work: "Callable[[LogOutlet], Awaitable[T]]"
    ) -> "tuple[StreamLog, asyncio.Task[T]]":
        """Let ``work`` make a stream and send its frames to a log, whoever listens."""
        stream_log = self._logs[stream_id] = StreamLog(stream_id, owner)

        async def carry_out() -> T:
            return await work(LogOutlet(stream_log, self._append))

        task = self._tasks.start(carry_out())
        detached = _DetachedStream(task)
        self._live.add(detached)

        def ended(task: "asyncio.Task[T]") -> None:
            self._live.remove(detached)
            self._end(stream_log, _reason(task))

        task.add_done_callback(ended)
        return stream_log, task

    async def read(self, stream_log: StreamLog, number: int) -> AsyncGenerator[bytes, None]:
        """Follow a log; see ``StreamLog.after``. A log that is being read is not forgotten for its age."""
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
        """The caller's log of this stream, or NotFound."""
        found = self._logs.get(stream_id)
        if found is None or found.owner != owner:
            raise NotFound(
                "there is no such stream of yours to resume: kept are those begun with on_disconnect 'finish', "
                f"and until {self._settings.keep_seconds:g} seconds after they ended",
                code="stream_not_kept",
            )
        return found

    def _append(self, stream_log: StreamLog, frame: bytes) -> None:
        self.size += stream_log.append(frame)
        while stream_log.size > self._settings.max_bytes:
            self.size -= stream_log.drop_oldest()
        while self.size > self._settings.max_total_bytes:
            if self._ended:
                self._free(next(iter(self._ended.values())))
            else:
                # Not this one's: its reader may be about to get what just came, and others take the room.
                self.size -= max(self._logs.values(), key=attrgetter("size")).drop_oldest()

    def _end(self, stream_log: StreamLog, error: JanError | None) -> None:
        stream_log.end(error)
        self._ended[stream_log.id] = stream_log
        if error is not None and not stream_log.count:
            self._expire(stream_log)  # refused before it began: its client has the refusal, and no id
            return
        asyncio.get_running_loop().call_later(self._settings.keep_seconds, self._expire, stream_log)

    def _expire(self, stream_log: StreamLog) -> None:
        self._logs.pop(stream_log.id, None)
        stream_log.expired = True
        if not stream_log.readers:
            self._free(stream_log)

    def _free(self, stream_log: StreamLog) -> None:
        """Forget a log that ended; whoever still reads it hears that its events are gone."""
        self._logs.pop(stream_log.id, None)
        self._ended.pop(stream_log.id, None)
        while stream_log.size:
            self.size -= stream_log.drop_oldest()


def _reason(task: "asyncio.Task[Any]") -> JanError | None:
    """What ended a stream before its end; None if nothing did."""
    if task.cancelled():
        return Unavailable("the server is shutting down", code="shutting_down")
    error = task.exception()
    if error is None or isinstance(error, JanError):
        return error
    log.error("stream failed", exc_info=error)
    return InternalError("the server failed to go on with this stream; its log says why")
