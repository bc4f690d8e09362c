"""One job of an engine: the state that its thread keeps, and the receiver of its events on the event loop."""

from jan.engine.base import Delta, Event, GenerationRequest, JobId, PreparedJob, Queued, Receiver
from jan.engine.runtime.prompt_threads import SharedPrompt


def ignore_events(_events: list[Event], _at: float) -> None:
    """Receive events of a job that has no receiver yet."""


class Job:
    """One sequence that an engine generates. ``receiver`` and ``closed`` belong to the event loop, the rest to the
    thread.

    ``closed``: no more events reach the receiver.
    ``prompt``: its tokenised prompt; None if the backend's own thread tokenises it.
    ``prepared``: the backend's own object, once the request is prepared.
    ``last_queued``: the last position in the queue that was sent.
    ``queue_seconds``: how long it waited for its slot.
    ``cost``: tokens that its owner is charged for: its prompt and the expected answer.
    ``generated``: tokens generated so far.
    ``buffered``: as in the request.
    ``held``, ``held_since``: deltas of a buffered answer that were not sent yet, and the time of the first one.
    """

    __slots__ = (
        "buffered",
        "closed",
        "cost",
        "generated",
        "held",
        "held_since",
        "id",
        "last_queued",
        "prepared",
        "prompt",
        "queue_seconds",
        "receiver",
        "request",
    )

    def __init__(
        self,
        job_id: JobId,
        request: GenerationRequest,
        receiver: Receiver = ignore_events,
        prompt: SharedPrompt | None = None,
    ) -> None:
        self.id = job_id
        self.request = request
        self.receiver = receiver
        self.prompt = prompt
        self.buffered = request.buffered
        self.closed = False
        self.prepared: PreparedJob | None = None
        self.last_queued: Queued | None = None
        self.queue_seconds = 0.0
        self.cost = 0
        self.generated = 0
        self.held: list[Delta] = []
        self.held_since = 0.0
