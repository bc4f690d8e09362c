"""The thread or process that runs a backend, as its engine on the event loop sees it."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from jan.engine.base import Failed, GenerationRequest, JobId, ModelInfo, OnProgress, TokenizedText
from jan.engine.runtime.job import Job
from jan.engine.runtime.mailbox import Batch, Message
from jan.engine.stats import EngineStats


class HostEvents(NamedTuple):
    """Functions of an engine that its host calls on the event loop.

    ``on_arrival``: with the events of jobs. ``on_reset``: after a reset. ``on_death``: with itself, if it has
    ended though nobody asked it to.
    """

    on_arrival: Callable[[list[Batch]], None]
    on_reset: Callable[[], None]
    on_death: Callable[["Host"], None]


class Host(Protocol):
    """A thread or a process that runs one backend, from its load to its end. All calls come from the event loop.

    ``stats``: counters of this host alone. ``can_be_ended``: ``abandon`` ends it for certain and frees its memory.
    ``kind``: thread or process, for the log.
    """

    stats: EngineStats
    can_be_ended: bool
    kind: str

    async def start(self, progress: OnProgress) -> ModelInfo:
        """Load the model. Raises the exceptions of the backend's ``load``."""
        ...

    async def job_of(self, job_id: JobId, request: GenerationRequest) -> Job:
        """Make a job for a request. A thread tries its output format and tokenises its prompt before; a process
        does so once it has the job. Raises the JanError of a request that is refused."""
        ...

    async def read_tokens(self, request: GenerationRequest) -> TokenizedText:
        """Show the tokens of a prompt; see ``TokenReader``."""
        ...

    def post(self, message: Message) -> None:
        """Send a message, together with the others of this turn of the loop."""
        ...

    def busy_since(self) -> float | None:
        """Return since when it has made no progress, on the monotonic clock; None while it is idle."""
        ...

    def fail_waiting(self, failure: Failed) -> None:
        """Fail what waits here for the backend and is no job yet."""
        ...

    def reset(self) -> None:
        """Have the backend reset, once, as soon as nothing else uses it; ``on_reset`` is called then."""
        ...

    def abandon(self) -> None:
        """Drop all further events, and end it if that can be done."""
        ...

    async def join(self, seconds: float) -> bool:
        """Wait at most this long for its end; returns True if it has ended."""
        ...
