"""Facts about the real model for its tests."""

from collections.abc import Callable
from typing import Any

SUBJECTS = ("the sea", "a cat", "winter", "music", "the city of Rome", "a long road")


def alike(one: Callable[[str], Any], other: Callable[[str], Any]) -> bool:
    """Whether two requests give the same answer about one of several subjects.

    Which processor computes them, how many tokens go together and where in the cache they lie change the order
    of additions and so the last bits of the logits: enough to tip a near tie now and then. Asking the same again
    would tip the same tie; other subjects are other draws, and texts that a fault makes differ, differ in all.
    """
    return any(one(subject) == other(subject) for subject in SUBJECTS)
