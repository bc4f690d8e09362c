"""The messages between the event loop and an engine's thread: commands in, events out."""

import asyncio
from collections import deque
from collections.abc import Callable

from jan.engine.base import Event, JobId, ModelInfo, PreparedRequest
from jan.engine.runtime.job import Job

#: One delivery: ids of jobs, and an event for each. Not pairs, which the garbage collector would scan: a fast
#: engine delivers hundreds of thousands of events before the event loop fetches them.
Batch = tuple[list[JobId], list[Event | PreparedRequest]]


class Prepare:
    """Tell the thread to tokenise and check a job."""

    def __init__(self, job: Job) -> None:
        self.job = job


class Submit:
    """Tell the thread to queue a job, and to prepare it if necessary."""

    def __init__(self, job: Job) -> None:
        self.job = job


class Cancel:
    """Tell the thread to drop a job."""

    def __init__(self, job: Job) -> None:
        self.job = job


class Reset:
    """Tell the thread to drop all jobs and reset the backend, and to report when that is done."""


class Close:
    """Tell the thread to end."""


#: A message to the thread.
Message = Prepare | Submit | Cancel | Reset | Close


class Outbox:
    """Sends events to the event loop: those of one step for all jobs together.

    Made on the event loop and used on the thread. ``arrive`` is called on the event loop with the deliveries.
    ``abandoned``: from then on, nothing is sent.
    """

    def __init__(self, arrive: Callable[[list[Batch]], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_arrival = arrive
        self._ids: list[JobId] = []
        self._events: list[Event | PreparedRequest] = []
        self._sent: deque[Batch] = deque()
        # True while the event loop has been woken and has not fetched the deliveries yet.
        self._woken = False
        self.abandoned = False

    def put(self, job: Job, item: Event | PreparedRequest) -> None:
        """Keep an event of a job until the next delivery."""
        self._ids.append(job.id)
        self._events.append(item)

    def clear(self) -> None:
        """Drop the events that were not delivered yet."""
        self._ids.clear()
        self._events.clear()

    def deliver(self) -> None:
        """Send all events that were put here.

        A busy loop is woken once for several deliveries, because each wake-up makes the thread release Python's
        lock and wait for it again.
        """
        if self._events:
            self._sent.append((self._ids, self._events))
            self._ids, self._events = [], []
            if not self._woken:
                self._woken = True
                self.call(self._arrive)

    def _arrive(self) -> None:
        # In this order, so that a later delivery wakes the loop again.
        self._woken = False
        self._on_arrival([self._sent.popleft() for _ in range(len(self._sent))])

    def call(self, function: Callable[..., None], *arguments: object) -> None:
        """Call a function on the event loop, unless the thread was abandoned."""
        # While the process ends, the loop may be closed already.
        if not self.abandoned and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)

    def settle(self, future: "asyncio.Future[ModelInfo]", result: ModelInfo | Exception) -> None:
        """Set the result of a future on the event loop, unless it is done."""
        self.call(_settle, future, result)


def _settle(future: "asyncio.Future[ModelInfo]", result: ModelInfo | Exception) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
