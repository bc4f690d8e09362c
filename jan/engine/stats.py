"""What an engine counts: written by its thread, read by whoever wants to know."""

import msgspec

from jan.telemetry.histogram import Histogram

# Seconds; the last bucket has no upper bound.
WAIT_BOUNDS = (0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class CacheUse(msgspec.Struct, kw_only=True):
    """A model's cache, in tokens: room for ``total``, of which answers under way hold ``used``, with what they may
    still come to need. What is kept of earlier ones gives way to new ones, and does not count."""

    total: int
    used: int = 0


class EngineStats(msgspec.Struct, kw_only=True):
    """Counters of one engine since its start. Of this moment are ``running``, ``waiting``, ``waiting_tokens``
    (prompts and likely answers) and ``progress_at``: when the thread last ended a step or took a
    message, on the monotonic clock. ``waits``: how long requests waited for a slot, in seconds, those that got one
    at once included."""

    running: int = 0
    waiting: int = 0
    waiting_tokens: int = 0
    progress_at: float = 0.0
    steps: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finished: int = 0
    cancelled: int = 0
    failed: int = 0
    overloaded: int = 0
    timed_out: int = 0
    stalls: int = 0
    restarts: int = 0
    waits: Histogram = msgspec.field(default_factory=lambda: Histogram(WAIT_BOUNDS))

    def carried_over(self) -> "EngineStats":
        """The same counts for a new thread; what an abandoned one still writes is not in them."""
        return msgspec.structs.replace(self, running=0, waiting=0, waiting_tokens=0, waits=self.waits.copy())
