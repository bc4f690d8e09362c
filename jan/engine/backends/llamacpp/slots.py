"""Slots of the key-value cache, and which tokens each holds, so that a known prefix is not computed again."""

import itertools
from collections.abc import Sequence


class Slot:
    """One sequence of the cache.

    ``tokens``: the tokens whose keys and values are in the cache, in order. ``busy``: a job runs in it.
    ``reserved``: cache tokens that its job may need. ``last_used``: a logical clock, for evicting the oldest.
    ``owner``: the owner of the job that filled it.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.tokens: list[int] = []
        self.reserved = 0
        self.busy = False
        self.last_used = 0
        self.owner = ""


class Slots:
    """A fixed number of slots that share a cache of ``cache_tokens`` tokens.

    A job reserves all cache tokens that it may need before it begins, so a running job never runs out.
    """

    def __init__(self, count: int, cache_tokens: int) -> None:
        self._slots = [Slot(number) for number in range(count)]
        self._cache_tokens = cache_tokens
        self._clock = itertools.count(1)

    @property
    def busy(self) -> int:
        """Number of slots that run a job."""
        return sum(slot.busy for slot in self._slots)

    @property
    def reserved(self) -> int:
        """Cache tokens that the running jobs have reserved."""
        return sum(slot.reserved for slot in self._slots)

    def has_room(self, tokens: int) -> bool:
        """Return True if a job that reserves this many cache tokens may begin now."""
        return self.reserved + tokens <= self._cache_tokens and any(not slot.busy for slot in self._slots)

    def acquire(self, prompt: Sequence[int], reserve: int, owner: str = "") -> tuple[Slot, Slot, int]:
        """Take a free slot for a prompt and find the longest prefix of it in the cache.

        Args:
            prompt: the prompt's token ids.
            reserve: cache tokens that the job may need, prompt and answer together.
            owner: only slots of this owner are searched for a prefix.

        Returns:
            The slot, the slot whose cache holds the prefix (perhaps the same one, perhaps a busy one), and the
            prefix's length in tokens. The prompt's last token is never part of the prefix, because the next token
            is sampled from its logits.
        """
        body = prompt[:-1]
        shared = {s.number: _prefix_length(s.tokens, body) if s.owner == owner else 0 for s in self._slots}
        source = max(self._slots, key=lambda slot: (shared[slot.number], not slot.busy))
        prefix = shared[source.number]
        # Reuse the source itself if that drops at most half of its tokens. Otherwise take the oldest slot, so that
        # both caches survive.
        if not source.busy and prefix and 2 * prefix >= len(source.tokens):
            slot = source
        else:
            slot = min((slot for slot in self._slots if not slot.busy), key=_age_order)
        slot.busy, slot.reserved, slot.last_used, slot.owner = True, reserve, next(self._clock), owner
        return slot, source, prefix

    def release(self, slot: Slot) -> None:
        """Free a slot; its tokens stay cached for the next prompt with the same prefix."""
        slot.busy, slot.reserved = False, 0

    def slots_to_evict(self) -> list[Slot]:
        """Return the free slots whose tokens must go, oldest first, so that everything reserved fits."""
        idle = sorted((slot for slot in self._slots if not slot.busy and slot.tokens), key=_age_order)
        excess = self.reserved + sum(len(s.tokens) for s in idle) - self._cache_tokens
        evicted = []
        for slot in idle:
            if excess <= 0:
                break
            excess -= len(slot.tokens)
            evicted.append(slot)
        return evicted

    def clear(self) -> None:
        """Free every slot and forget its tokens."""
        for slot in self._slots:
            slot.tokens.clear()
            self.release(slot)


def _age_order(slot: Slot) -> int:
    """Sort empty slots first, then the ones that were not used for the longest time."""
    return slot.last_used if slot.tokens else -1


def _prefix_length(cached: Sequence[int], prompt: Sequence[int]) -> int:
    """Return the length of the common prefix in tokens."""
    limit = min(len(cached), len(prompt))
    return next((at for at in range(limit) if cached[at] != prompt[at]), limit)
