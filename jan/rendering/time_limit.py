"""A limit on the CPU time of a piece of work, for the main thread of a process of its own."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class TooSlow(Exception):
    """A piece of work has used the CPU time that it had."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise TooSlow after this much CPU time, or earlier if a limit around this one ends earlier.

    Python's regular expressions look for signals while they search, so they end too.
    """

    before = signal.signal(signal.SIGVTALRM, _too_slow)
    outer, _ = signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    given = min(seconds, outer) if outer else seconds
    if given < seconds:
        signal.setitimer(signal.ITIMER_VIRTUAL, given)
    try:
        yield
    finally:
        left, _ = signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        if outer:
            # What is left of the limit around this one; a moment if nothing is, so that it still raises.
            signal.setitimer(signal.ITIMER_VIRTUAL, max(outer - (given - left), 1e-3))
        else:
            signal.signal(signal.SIGVTALRM, before)


def _too_slow(_number: int, _frame: FrameType | None) -> None:
    raise TooSlow
