"""Counters of an engine: written by its thread, read by any other."""

import msgspec

from jan.telemetry.histogram import Histogram

# Upper bounds of the buckets in seconds; the last bucket has none.
WAIT_BOUNDS = (0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class CacheUse(msgspec.Struct, kw_only=True):
    """A model's key-value cache, in tokens.

    ``total``: its capacity. ``used``: reserved by running answers, including what they may still need. Prefixes of
    earlier answers do not count, because new ones replace them.
    """

    total: int
    used: int = 0


class EngineStats(msgspec.Struct, kw_only=True):
    """Counters of one engine since its start, and four values of this moment.

    Of this moment: ``running`` and ``waiting`` jobs; ``waiting_tokens``: prompts and expected answers of waiting
    jobs;
    ``progress_at``: when the thread last finished a step, prepared a request in good time, or was idle, on the
    monotonic clock.
    ``waits``: seconds that jobs waited for a slot, including those that got one at once.
    """

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

    def plus(self, past: "EngineStats") -> "EngineStats":
        """Return these counters together with those of an earlier time; the values of this moment are these."""
        added = {name: getattr(self, name) + getattr(past, name) for name in COUNTERS}
        return msgspec.structs.replace(self, **added, waits=self.waits.plus(past.waits))

    def ended(self) -> "EngineStats":
        """Return a copy for later, of a thread or process that is no more."""
        return msgspec.structs.replace(self, running=0, waiting=0, waiting_tokens=0, waits=self.waits.copy())


#: The fields that only grow.
COUNTERS = (
    "steps",
    "prompt_tokens",
    "completion_tokens",
    "finished",
    "cancelled",
    "failed",
    "overloaded",
    "timed_out",
    "stalls",
    "restarts",
)
