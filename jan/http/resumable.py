"""Streams that outlive their client: their frames are kept, in bounded memory, so that a client can return.

One task makes the frames and appends them to the stream's log. Any number of readers follow the log.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from operator import attrgetter
from typing import Any, Protocol, TypeVar

import structlog

from jan.auth.running import Permit, RunningWork
from jan.errors import InternalError, JanError, NotFound, Unavailable
from jan.http.sse import at_once
from jan.http.stream_log import StreamLog
from jan.settings import StreamSettings
from jan.tasks import Tasks

log = structlog.get_logger(__name__)

T = TypeVar("T")


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


class Elsewhere(Protocol):
    """The other web loops, which keep streams too."""

    def follow(self, stream_id: str, owner: str, number: int) -> AsyncGenerator[bytes, None]:
        """Yield the frames of an owner's stream after an event. Raises NotFound before the first one if no loop
        keeps it."""
        ...

    def forget(self, *, conversation_id: str = "", owner: str = "") -> None:
        """Let all other loops forget the streams of a conversation, or of an owner."""
        ...


class StreamLogs:
    """The logs of streams that outlive their clients, and of those that ended recently.

    ``elsewhere``: the other web loops; None if there are none.
    """

    def __init__(
        self, settings: StreamSettings, live: Live, running: RunningWork, elsewhere: Elsewhere | None = None
    ) -> None:
        self._elsewhere = elsewhere
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

    def follow(self, stream_id: str, owner: str, number: int) -> AsyncGenerator[bytes, None]:
        """Follow the caller's stream after an event, wherever it is kept. Raises NotFound or InvalidRequest, at
        once or before the first frame."""
        kept = self._logs.get(stream_id)
        if (kept is None or kept.owner != owner) and self._elsewhere is not None:
            return self._elsewhere.follow(stream_id, owner, number)
        kept = self.find(stream_id, owner)
        kept.check(number)
        return at_once(self.read(kept, number))

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
        self.forget_own(conversation_id=conversation_id)
        if self._elsewhere is not None:
            self._elsewhere.forget(conversation_id=conversation_id)

    def forget_of(self, owner: str) -> None:
        """Forget the streams of a user, who is deleted."""
        self.forget_own(owner=owner)
        if self._elsewhere is not None:
            self._elsewhere.forget(owner=owner)

    def forget_own(self, *, conversation_id: str = "", owner: str = "") -> None:
        """Forget the streams of a conversation or of an owner that this process keeps."""
        logs = self._logs.values()
        self._forget([kept for kept in logs if kept.about == conversation_id != "" or kept.owner == owner != ""])

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
