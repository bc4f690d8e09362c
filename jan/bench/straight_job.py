"""What the model is asked when it is driven straight; known to who asks, without the model's library."""

import msgspec


class Straight(msgspec.Struct, frozen=True):
    """Answer all prompts at once, each with so many tokens."""

    prompts: tuple[str, ...]
    tokens: int


class StraightOutcome(msgspec.Struct, frozen=True):
    """Seconds: in all, to each prompt's first token, and between two tokens."""

    seconds: float
    first: list[float]
    gaps: list[float]
