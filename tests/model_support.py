"""What tests of a real model need to know of it."""

from collections.abc import Callable
from typing import Any


def alike(one: Callable[[], Any], other: Callable[[], Any]) -> bool:
    """Whether two requests give the same answer, at the latest at the third try of both.

    Where in the cache a prompt lies, and how much of it is there already, changes the order of additions
    and so the last bits of the logits: enough to tip a near tie now and then.
    """
    ones, others = [], []
    for _ in range(3):
        ones.append(one())
        others.append(other())
        if any(answer in others for answer in ones):
            return True
    return False
