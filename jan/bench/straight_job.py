"""What the model is asked when it is driven straight; known to who asks, without the model's library."""

import msgspec


class Straight(msgspec.Struct, frozen=True):
    """Answer all prompts at once, each with so many tokens."""

    prompts: tuple[str, ...]
    tokens: int


class StraightOutcome(msgspec.Struct, frozen=True):
    """Seconds: in all, to the first token of all prompts, and between two tokens."""

    seconds: float
    first: float
    gaps: list[float]
