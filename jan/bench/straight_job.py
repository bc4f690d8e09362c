"""Messages to and from `jan.bench.straight`, importable without the model's library."""

import os

import msgspec


def threads() -> int:
    """Number of threads for every contestant that runs the model: one for each usable core."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Straight(msgspec.Struct, frozen=True):
    """A job: answer all prompts at once, each with ``tokens`` tokens."""

    prompts: tuple[str, ...]
    tokens: int


class StraightOutcome(msgspec.Struct, frozen=True):
    """Times in seconds: of the whole job, to the first token of all prompts, and between two tokens."""

    seconds: float
    first: float
    gaps: list[float]
