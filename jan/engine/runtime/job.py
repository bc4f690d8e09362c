"""One request under way in an engine: what its thread knows of it, and who gets its events on the event loop."""

from jan.engine.base import Delta, Event, GenerationRequest, JobId, PreparedJob, Queued, Receiver


def nobody(_events: list[Event], _at: float) -> None:
    """Receive the events of a job that nobody waits for yet."""


class Job:
    """One request under way. ``receiver`` and ``closed`` are the event loop's, the rest is the thread's."""

    def __init__(self, job_id: JobId, request: GenerationRequest, receiver: Receiver = nobody) -> None:
        self.id = job_id
        self.request = request
        self.receiver = receiver
        #: Whether nothing reaches the receiver any more.
        self.closed = False
        self.prepared: PreparedJob | None = None
        #: The place in the queue that its client was last told.
        self.told: Queued | None = None
        #: Seconds that it waited for its slot.
        self.queue_seconds = 0.0
        #: Tokens that its owner's share is charged with: its prompt, and an answer of the recent mean length.
        self.cost = 0
        #: Tokens generated so far.
        self.generated = 0
        #: What the engine's thread holds back of a buffered answer, and since when.
        self.held: list[Delta] = []
        self.held_at = 0.0
