"""The limits of an engine's queue, and what happens after a failure."""

from typing import Literal

import msgspec

from jan.settings import ModelSettings

OnFailure = Literal["wait", "restart", "exit"]

_MAX_BACKOFF_SECONDS = 60.0


class EngineRules(msgspec.Struct, frozen=True, kw_only=True):
    """An engine's limits. The first four are described in ``ModelSettings``; None as there.

    ``backoff_seconds``: time before a failed model is loaded again; doubled with each further failure.
    ``join_seconds``: how long closing waits for the model's thread.
    """

    max_waiting: int = 256
    queue_timeout_seconds: float = 300.0
    stall_seconds: float = 120.0
    on_failure: OnFailure | None = None
    backoff_seconds: float = 1.0
    join_seconds: float = 5.0

    def with_default(self, on_failure: OnFailure) -> "EngineRules":
        """Return these rules with a default for what happens after a failure."""
        return self if self.on_failure is not None else msgspec.structs.replace(self, on_failure=on_failure)


def rules_of(settings: ModelSettings) -> EngineRules:
    """Return the rules of a configured model."""
    return EngineRules(
        max_waiting=settings.max_waiting,
        queue_timeout_seconds=settings.queue_timeout_seconds,
        stall_seconds=settings.stall_seconds,
        on_failure=settings.on_failure,
    )


class Backoff:
    """The seconds to wait before a failed model is loaded again; doubled each time, until it has served again."""

    def __init__(self, first: float) -> None:
        self._first = self._next = first
        self._finished = 0

    def begin(self, finished: int) -> None:
        """Note a failure of a model that has finished this many answers since its start."""
        if finished > self._finished:
            self._next = self._first
        self._finished = finished

    def next(self) -> float:
        """Return the seconds to wait before the next load."""
        seconds, self._next = self._next, min(2 * self._next, _MAX_BACKOFF_SECONDS)
        return seconds
