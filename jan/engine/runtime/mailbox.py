"""What crosses between the event loop and an engine's thread: small messages in, results out."""

import asyncio
from collections import deque
from collections.abc import Callable

from jan.engine.base import Event, ModelInfo
from jan.engine.runtime.job import Job
from jan.errors import JanError


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
    """End."""


class Outbox:
    """The way to the event loop: a step's results for all jobs cross together. Made on the event loop, used on the
    thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._items: list[tuple[Job, Event | JanError]] = []
        self._sent: deque[list[tuple[Job, Event | JanError]]] = deque()
        # Whether the event loop was woken for what was sent, and has not come to it yet.
        self._woken = False
        self.cut = False  # from then on nothing reaches anybody

    def put(self, job: Job, item: Event | JanError) -> None:
        """Keep something for a job until the next delivery."""
        self._items.append((job, item))

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
        for _ in range(len(self._sent)):
            for job, item in self._sent.popleft():
                job.put(item)

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
