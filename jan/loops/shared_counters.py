"""Counters of limits that all web loops share: they stand in the supervisor's memory."""

from collections.abc import Sequence

from jan.limits.memory import MemoryCounter, MemoryCounters
from jan.loops.link import Answer, Link
from jan.loops.questions import ADJUST, TAKE, Adjustment, Counted, Nothing, Taking
from jan.storage.accounting import Counter, Demand, Taken


class LinkedCounters:
    """Implements ``Counters`` in a web loop, by asking the supervisor."""

    waits = True

    def __init__(self, link: Link) -> None:
        self._link = link

    async def take(self, demands: Sequence[Demand], now: int) -> Taken:
        """Count all demands, or none of them. Raises Unavailable if the supervisor has ended."""
        counted = await self._link.ask(TAKE, Taking(demands=tuple(demands), now=now))
        return Taken(counters=counted.counters, refused=counted.refused)

    async def adjust(self, counter: Counter, change: int) -> None:
        """Add to a window that is still running. Raises Unavailable if the supervisor has ended."""
        if isinstance(counter, MemoryCounter):
            await self._link.ask(ADJUST, Adjustment(counter=counter, change=change))

    async def purge(self, now: int) -> None:
        """Do nothing: the supervisor forgets what has ended by itself."""


def counting(counters: MemoryCounters) -> tuple[Answer, ...]:
    """Return what the supervisor answers to loops that count."""

    async def take(asked: Taking) -> Counted:
        taken = await counters.take(asked.demands, asked.now)
        windows = tuple(counter for counter in taken.counters if isinstance(counter, MemoryCounter))
        return Counted(counters=windows, refused=taken.refused)

    async def adjust(asked: Adjustment) -> Nothing:
        await counters.adjust(asked.counter, asked.change)
        return Nothing()

    return TAKE.answered_by(take), ADJUST.answered_by(adjust)
