"""Which tokens stand in the model's cache, slot by slot, so that a known beginning is not computed again."""

import itertools
from collections.abc import Sequence


class Slot:
    """One sequence of the cache. ``tokens`` are those computed so far; ``busy`` while a job owns it; ``owner``:
    whose tokens they are."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.tokens: list[int] = []
        self.reserved = 0
        self.busy = False
        self.used_at = 0
        self.owner = ""


class Slots:
    """A fixed number of slots over a cache of ``cells`` tokens.

    A job reserves the cells it may come to need before it begins, so a begun job never runs out.
    """

    def __init__(self, count: int, cells: int) -> None:
        self._slots = [Slot(number) for number in range(count)]
        self._cells = cells
        self._clock = itertools.count(1)

    @property
    def busy(self) -> int:
        """How many slots are in use."""
        return sum(slot.busy for slot in self._slots)

    @property
    def reserved(self) -> int:
        """How many cells the jobs may come to need."""
        return sum(slot.reserved for slot in self._slots)

    def has_room(self, cells: int) -> bool:
        """Whether a job that needs this many cells may begin now."""
        return self.reserved + cells <= self._cells and any(not slot.busy for slot in self._slots)

    def acquire(self, prompt: Sequence[int], cells: int, owner: str = "") -> tuple[Slot, Slot, int]:
        """Take a free slot for a prompt; what others wrote is not looked at.

        Returns the slot, the slot whose cache begins most like the prompt (perhaps the same, perhaps
        busy), and how many tokens they share. At least the prompt's last token is left to compute,
        because the next token is sampled from its result.
        """
        body = prompt[:-1]
        shared = {s.number: _common(s.tokens, body) if s.owner == owner else 0 for s in self._slots}
        source = max(self._slots, key=lambda slot: (shared[slot.number], not slot.busy))
        common = shared[source.number]
        # In place if little is lost by it; else into the stalest slot, so that both caches live on.
        if not source.busy and common and 2 * common >= len(source.tokens):
            slot = source
        else:
            slot = min((slot for slot in self._slots if not slot.busy), key=_staleness)
        slot.busy, slot.reserved, slot.used_at, slot.owner = True, cells, next(self._clock), owner
        return slot, source, common

    def release(self, slot: Slot) -> None:
        """Give a slot back; its tokens stay cached for the next prompt that begins like them."""
        slot.busy, slot.reserved = False, 0

    def stale(self) -> list[Slot]:
        """Free slots to empty, stalest first, so that everything reserved fits."""
        idle = sorted((slot for slot in self._slots if not slot.busy and slot.tokens), key=_staleness)
        excess = self.reserved + sum(len(s.tokens) for s in idle) - self._cells
        evicted = []
        for slot in idle:
            if excess <= 0:
                break
            excess -= len(slot.tokens)
            evicted.append(slot)
        return evicted

    def clear(self) -> None:
        """Forget everything."""
        for slot in self._slots:
            slot.tokens.clear()
            self.release(slot)


def _staleness(slot: Slot) -> int:
    return slot.used_at if slot.tokens else -1


def _common(cached: Sequence[int], prompt: Sequence[int]) -> int:
    """Length of the common beginning."""
    limit = min(len(cached), len(prompt))
    return next((at for at in range(limit) if cached[at] != prompt[at]), limit)
