"""The connection of an event loop to the process of an engine, as a host of its jobs."""

from jan.engine.base import Failed, GenerationRequest, JobId, TokenizedText
from jan.engine.isolation.engine_link import EngineLink, SentPrompt
from jan.engine.refusals import model_stopped
from jan.engine.runtime.job import Job
from jan.engine.runtime.mailbox import Cancel, Message, Prepare, Submit
from jan.engine.stats import EngineStats


class SentJob(Job):
    """A job of a process. ``shared``: its prompt. ``sent``: the process has it."""

    __slots__ = ("sent", "shared")

    def __init__(self, job_id: JobId, request: GenerationRequest, shared: SentPrompt) -> None:
        super().__init__(job_id, request)
        self.shared = shared
        self.sent = False


class LinkedHost:
    """The part of a Host that needs a connection to a process and nothing else. ``name``: the model's id."""

    kind = "process"

    def __init__(self, name: str) -> None:
        self._name = name
        self._link: EngineLink | None = None
        self.stats = EngineStats()

    async def job_of(self, job_id: JobId, request: GenerationRequest) -> Job:
        """Make a job; the process tries its format and tokenises its prompt once it has the job."""
        return SentJob(job_id, request, self._connection().prompt_of(request.prompt))

    async def read_tokens(self, request: GenerationRequest) -> TokenizedText:
        """Show the tokens of a prompt; see ``TokenReader``."""
        return await self._connection().read_tokens(request)

    def _connection(self) -> EngineLink:
        if self._link is None:
            raise model_stopped(self._name)
        return self._link

    def post(self, message: Message) -> None:
        """Send a message, together with the others of this turn of the loop."""
        if self._link is not None:
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

    def probe(self) -> None:
        """Find out if the process hangs; ``busy_since`` tells it."""
        if self._link is not None:
            self._link.probe()


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
