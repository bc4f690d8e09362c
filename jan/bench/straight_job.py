"""What the model is asked when it is driven straight; known to who asks, without the model's library."""

import os

import msgspec


def threads() -> int:
    """What everybody gets who computes with the model: one for each core that may be used."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Straight(msgspec.Struct, frozen=True):
    """Answer all prompts at once, each with so many tokens."""

    prompts: tuple[str, ...]
    tokens: int


class StraightOutcome(msgspec.Struct, frozen=True):
    """Seconds: in all, to the first token of all prompts, and between two tokens."""

    seconds: float
    first: float
    gaps: list[float]
