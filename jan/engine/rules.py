"""What an engine is told by the configuration: how much may wait, for how long, and what follows a failure."""

from typing import Literal

import msgspec

from jan.settings import ModelSettings

OnFailure = Literal["wait", "restart", "exit"]


class EngineRules(msgspec.Struct, frozen=True, kw_only=True):
    """The first four as in ModelSettings. ``backoff_seconds``: before the model is loaded anew, doubled with every
    time that it fails again; ``join_seconds``: how long closing waits for the thread."""

    max_waiting: int = 256
    queue_timeout_seconds: float = 300.0
    stall_seconds: float = 120.0
    on_failure: OnFailure = "wait"
    backoff_seconds: float = 1.0
    join_seconds: float = 5.0


def rules_of(settings: ModelSettings) -> EngineRules:
    """The rules of a configured model."""
    return EngineRules(
        max_waiting=settings.max_waiting,
        queue_timeout_seconds=settings.queue_timeout_seconds,
        stall_seconds=settings.stall_seconds,
        on_failure=settings.on_failure,
    )
