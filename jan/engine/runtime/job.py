"""One request under way in an engine: what both threads know of it, and its mailbox on the event loop."""

import asyncio

import msgspec

from jan.engine.base import (
    Delta,
    Event,
    Finished,
    GenerationRequest,
    JobId,
    PreparedJob,
    Queued,
)
from jan.errors import JanError

# Of what waits, so many of the latest deltas are kept apart at most.
_APART = 1024


class Backlog:
    """Deltas that were not fetched yet. They stay apart, for a client to get every token as the piece that it was;
    where there are very many, older ones are merged, a thousand into one."""

    def __init__(self, first: Delta) -> None:
        self._merged: list[Delta] = []
        self._apart = [first]

    def add(self, delta: Delta) -> None:
        """One more."""
        self._apart.append(delta)
        if len(self._apart) == _APART:
            self._merged.append(Delta.sum(self._apart))
            self._apart.clear()

    def whole(self) -> Delta:
        """All as one, with its parts."""
        parts = (*self._merged, *self._apart)
        return msgspec.structs.replace(Delta.sum(parts), parts=parts)


class Job:
    """One request under way, known to both sides; the mailbox part belongs to the event loop."""

    def __init__(self, job_id: JobId, request: GenerationRequest) -> None:
        self.id = job_id
        self.request = request
        self.prepared: PreparedJob | None = None
        #: What its client was last told of the queue.
        self.told: Queued | None = None
        #: Seconds that it waited for its slot.
        self.queue_seconds = 0.0
        #: Tokens that its owner's share is charged with: its prompt, and an answer as long as they are of late.
        self.cost = 0
        #: Tokens generated so far.
        self.generated = 0
        #: What the engine's thread holds back of a whole answer, and since when.
        self.held: list[Delta] = []
        self.held_at = 0.0
        self._mail: list[Event | JanError] = []
        # What comes after the mail, where a delta was not fetched before the next one came.
        self._backlog: Backlog | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.closed = False

    def put(self, item: Event | JanError) -> None:
        """Deliver on the event loop; a delta or place in the queue that was not fetched yet is merged with the
        next one. After the end nothing is taken: an engine may wake up when its jobs have been given up."""
        if self.closed:
            return
        if isinstance(item, Delta):
            self._put_delta(item)
        else:
            self._end_backlog()
            self._put_other(item)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _put_delta(self, delta: Delta) -> None:
        if self._backlog is not None:
            self._backlog.add(delta)
        elif self._mail and isinstance(last := self._mail[-1], Delta):
            del self._mail[-1]
            self._backlog = Backlog(last)
            self._backlog.add(delta)
        else:
            self._mail.append(delta)

    def _put_other(self, item: Event | JanError) -> None:
        if isinstance(item, Queued) and self._mail and isinstance(self._mail[-1], Queued):
            self._mail[-1] = item
        elif isinstance(item, Finished):
            self._mail.append(msgspec.structs.replace(item, queue_seconds=self.queue_seconds))
        else:
            self._mail.append(item)
        self.closed = isinstance(item, (Finished, JanError))

    def _end_backlog(self) -> None:
        if self._backlog is not None:
            self._mail.append(self._backlog.whole())
            self._backlog = None

    @property
    def pending(self) -> bool:
        """Whether there is mail, or more to come."""
        return not self.closed or bool(self._mail)

    async def take(self) -> list[Event | JanError]:
        """Wait for mail and empty the box."""
        if not self._mail and self._backlog is None:
            # Not asyncio.Event, which costs several times as much, and this is done for every token.
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        self._end_backlog()
        mail, self._mail = self._mail, []
        return mail
