"""One request under way in an engine: what both threads know of it, and its mailbox on the event loop."""

import asyncio

from jan.engine.base import Delta, Event, Finished, GenerationRequest, JobId, PreparedJob
from jan.errors import JanError


class Job:
    """One request under way, known to both sides; the mailbox part belongs to the event loop."""

    def __init__(self, job_id: JobId, request: GenerationRequest) -> None:
        self.id = job_id
        self.request = request
        self.prepared: PreparedJob | None = None
        self._mail: list[Event | JanError] = []
        self._arrived = asyncio.Event()
        self.closed = False

    def put(self, item: Event | JanError) -> None:
        """Deliver on the event loop; a delta that was not fetched yet is merged with the next one."""
        last = self._mail[-1] if self._mail else None
        if isinstance(item, Delta) and isinstance(last, Delta):
            self._mail[-1] = last.merge(item)
        else:
            self._mail.append(item)
        self.closed = self.closed or isinstance(item, Finished | JanError)
        self._arrived.set()

    @property
    def pending(self) -> bool:
        """Whether there is mail, or more to come."""
        return bool(self._mail) or not self.closed

    async def take(self) -> list[Event | JanError]:
        """Wait for mail and empty the box."""
        await self._arrived.wait()
        self._arrived.clear()
        mail, self._mail = self._mail, []
        return mail
