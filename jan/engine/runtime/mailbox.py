"""What crosses between the event loop and an engine's thread: small messages in, results out."""

import asyncio
from collections import deque
from collections.abc import Callable

from jan.engine.base import Event, JobId, ModelInfo, PreparedRequest
from jan.engine.runtime.job import Job

#: What a delivery has: of which job, and what came of it.
Batch = list[tuple[JobId, Event | PreparedRequest]]


class Prepare:
    """Tokenise and check a job."""

    def __init__(self, job: Job) -> None:
        self.job = job


class Submit:
    """Serve a job."""

    def __init__(self, job: Job) -> None:
        self.job = job


class Cancel:
    """Forget a job."""

    def __init__(self, job: Job) -> None:
        self.job = job


class Reset:
    """Forget everything, and say so when it is done."""


class Close:
    """End the thread."""


#: What the thread can be told.
Message = Prepare | Submit | Cancel | Reset | Close


class Outbox:
    """The way to the event loop: a step's results for all jobs cross together. Made on the event loop, used on the
    thread; ``arrive`` gets the deliveries on the event loop."""

    def __init__(self, arrive: Callable[[list[Batch]], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._to = arrive
        self._items: Batch = []
        self._sent: deque[Batch] = deque()
        # Whether the event loop was woken for what was sent, and has not come to it yet.
        self._woken = False
        self.cut = False  # from then on nothing reaches anybody

    def put(self, job: Job, item: Event | PreparedRequest) -> None:
        """Keep something for a job until the next delivery."""
        self._items.append((job.id, item))

    def clear(self) -> None:
        """Drop what was not delivered."""
        self._items.clear()

    def deliver(self) -> None:
        """Send everything that was put here. A loop that is busy is woken once for several deliveries: each time
        the thread has to give Python's lock away and to wait for it."""
        if self._items:
            self._sent.append(self._items)
            self._items = []
            if not self._woken:
                self._woken = True
                self.call(self._arrive)

    def _arrive(self) -> None:
        # In this order, so that whatever is sent later wakes the loop again.
        self._woken = False
        self._to([self._sent.popleft() for _ in range(len(self._sent))])

    def call(self, function: Callable[..., None], *arguments: object) -> None:
        """Call something on the event loop."""
        # The loop may be closed already when the process is ending; then nobody is left to hear it.
        if not self.cut and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)

    def settle(self, future: "asyncio.Future[ModelInfo]", result: ModelInfo | Exception) -> None:
        """Give a future its result, unless nobody waits for it any more."""
        self.call(_settle, future, result)


def _settle(future: "asyncio.Future[ModelInfo]", result: ModelInfo | Exception) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
