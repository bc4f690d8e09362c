"""The host of a backend in a process of its own: the process, and this event loop's connection to it."""

import asyncio
from collections.abc import Callable

import structlog

from jan.engine.base import Failed, GenerationRequest, JobId, ModelInfo, OnProgress, TokenizedText
from jan.engine.isolation.engine_link import EngineLink, SentPrompt
from jan.engine.isolation.engine_messages import EngineAddress, ProcessPlan
from jan.engine.isolation.engine_process import EngineProcess
from jan.engine.refusals import model_stopped
from jan.engine.runtime.host import HostEvents
from jan.engine.runtime.job import Job
from jan.engine.runtime.mailbox import Cancel, Close, Message, Prepare, Submit
from jan.engine.stats import EngineStats
from jan.errors import InternalError

log = structlog.get_logger(__name__)

# How long a process may go on that has closed the connection of its parent.
_GRACE_SECONDS = 1.0


class SentJob(Job):
    """A job of a process. ``shared``: its prompt. ``sent``: the process has it."""

    __slots__ = ("sent", "shared")

    def __init__(self, job_id: JobId, request: GenerationRequest, shared: SentPrompt) -> None:
        super().__init__(job_id, request)
        self.shared = shared
        self.sent = False


class ProcessHost:
    """One process with its backend: the Host of an isolated engine.

    Args:
        plan: what the process is told.
        address: where it is found then.
        admit: called on a thread before the process is started. Raises ConfigurationError for a model that must
            not be loaded.
        events: called on the event loop.
    """

    can_be_ended = True
    kind = "process"

    def __init__(
        self, plan: ProcessPlan, address: EngineAddress, admit: Callable[[], object], events: HostEvents
    ) -> None:
        self._plan = plan
        self._address = address
        self._admit = admit
        self._events = events
        self._process: EngineProcess | None = None
        self._link: EngineLink | None = None
        self._loop = asyncio.get_running_loop()
        # It was asked to end.
        self._ends = False
        self.stats = EngineStats()

    @property
    def pid(self) -> int | None:
        """The id of the process, None while there is none."""
        return None if self._process is None or self._process.ended.is_set() else self._process.pid

    async def start(self, progress: OnProgress) -> ModelInfo:
        """Start the process, load the model in it and connect.

        Raises ConfigurationError if the model can't be loaded, and InternalError if the process ends.
        """
        await asyncio.to_thread(self._admit)
        self._process = EngineProcess(self._plan, self._on_end)
        try:
            await self._process.load(progress)
            link = await EngineLink.open(self._address, self._events, self._on_disconnect)
            self.stats = link.stats
            info = await link.info()
        except OSError as error:
            self.abandon()
            raise InternalError(f"The engine's process can't be reached: {error}.") from error
        except BaseException:
            self.abandon()
            raise
        self._link = link
        return info

    async def job_of(self, job_id: JobId, request: GenerationRequest) -> Job:
        """Make a job; the process tries its format and tokenises its prompt once it has the job."""
        return SentJob(job_id, request, self._connection().prompt_of(request.prompt))

    async def read_tokens(self, request: GenerationRequest) -> TokenizedText:
        """Show the tokens of a prompt; see ``TokenReader``."""
        return await self._connection().read_tokens(request)

    def _connection(self) -> EngineLink:
        if self._link is None:
            raise model_stopped(self._plan.name)
        return self._link

    def post(self, message: Message) -> None:
        """Send a message, together with the others of this turn of the loop."""
        if isinstance(message, Close):
            self._ends = True
            if self._process is not None:
                self._process.close()
        elif self._link is not None:
            _send(self._link, message)

    def busy_since(self) -> float | None:
        """Return since when it has made no progress, on the monotonic clock; None while it is idle."""
        return None if self._link is None else self._link.busy_since()

    def fail_waiting(self, failure: Failed) -> None:
        """Fail those who wait for tokens to be shown."""
        if self._link is not None:
            self._link.fail_waiting(failure)

    def reset(self) -> None:
        """Have the backend reset when nothing else uses it."""
        if self._link is not None:
            self._link.reset()

    def abandon(self) -> None:
        """Kill the process, and with it what the backend holds."""
        self._ends = True
        if self._link is not None:
            self._link.close()
        if self._process is not None:
            self._process.kill()

    async def join(self, seconds: float) -> bool:
        """Wait at most ``seconds`` for the end of the process; returns True if it has ended."""
        if self._process is None:
            return True
        try:
            async with asyncio.timeout(seconds):
                await self._process.ended.wait()
        except TimeoutError:
            return False
        return True

    def _on_disconnect(self) -> None:
        """End a process that has closed the connection, unless it ends by itself at once."""
        assert self._process is not None  # whose connection it was
        self._loop.call_later(_GRACE_SECONDS, self._process.kill)

    def _on_end(self) -> None:
        """Note that the process has ended."""
        process, link = self._process, self._link
        assert process is not None  # the one that has ended
        asked, self._ends = self._ends, True
        if link is not None:
            link.drain()
            link.close()
        if not asked or process.was_killed:
            log.error(
                "engine process ended",
                model=self._plan.name,
                pid=process.pid,
                end=process.end,
                killed_by_server=process.was_killed,
                last_words=process.last_words,
            )
        if not asked and link is not None:
            self._events.on_death(self)


def _send(link: EngineLink, message: Message) -> None:
    """Send a message of an engine to its process."""
    if isinstance(message, Prepare | Submit):
        job = message.job
        assert isinstance(job, SentJob)  # made by ``job_of``
        if job.sent:
            link.queue_job(job.id)
        else:
            link.new_job(job.id, job.request, job.shared, queues=isinstance(message, Submit))
            job.sent = True
    elif isinstance(message, Cancel):
        link.drop_job(message.job.id)
