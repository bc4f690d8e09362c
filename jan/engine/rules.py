"""The limits of an engine's queue, and what happens after a failure."""

from typing import Literal

import msgspec

from jan.settings import ModelSettings

OnFailure = Literal["wait", "restart", "exit"]


class EngineRules(msgspec.Struct, frozen=True, kw_only=True):
    """An engine's limits. The first four are described in ``ModelSettings``.

    ``backoff_seconds``: time before a failed model is loaded again; doubled with each further failure.
    ``join_seconds``: how long closing waits for the model's thread.
    """

    max_waiting: int = 256
    queue_timeout_seconds: float = 300.0
    stall_seconds: float = 120.0
    on_failure: OnFailure = "wait"
    backoff_seconds: float = 1.0
    join_seconds: float = 5.0


def rules_of(settings: ModelSettings) -> EngineRules:
    """Return the rules of a configured model."""
    return EngineRules(
        max_waiting=settings.max_waiting,
        queue_timeout_seconds=settings.queue_timeout_seconds,
        stall_seconds=settings.stall_seconds,
        on_failure=settings.on_failure,
    )
