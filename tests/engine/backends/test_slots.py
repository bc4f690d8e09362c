"""Slots: prefixes are reused, cache is reserved, and idle caches are evicted."""

from jan.engine.backends.llamacpp.slots import Slots


def use(slots: Slots, prompt: list[int], reserve: int = 10) -> tuple[int, int, int]:
    """Acquire a slot and compute the prompt; returns slot, source and length of the shared prefix."""
    slot, source, shared = slots.acquire(prompt, reserve)
    slot.tokens = list(prompt)
    return slot.number, source.number, shared


def test_the_same_prompt_goes_to_the_slot_that_knows_it() -> None:
    """A repeated prompt is computed from its last token only."""
    slots = Slots(2, 100)
    slot, _, shared = slots.acquire([1, 2, 3], 10)
    assert shared == 0
    slot.tokens = [1, 2, 3]
    slots.release(slot)
    again, source, shared = slots.acquire([1, 2, 3], 10)
    assert (again, source, shared) == (slot, slot, 2)


def test_a_busy_slots_beginning_is_shared() -> None:
    """A prompt with the same prefix as a running one takes another slot and shares the prefix."""
    slots = Slots(2, 100)
    first, _, _ = use(slots, [1, 2, 3, 4])
    second, source, shared = use(slots, [1, 2, 9])
    assert second != first
    assert (source, shared) == (first, 2)


def test_a_long_cache_is_not_given_up_for_a_short_common_beginning() -> None:
    """A prompt that shares little takes an unused slot, so the long cache stays."""
    slots = Slots(2, 100)
    long, _, _ = slots.acquire(list(range(20)), 30)
    long.tokens = list(range(20))
    slots.release(long)
    slot, source, shared = slots.acquire([0, 1, 99], 10)
    assert slot is not long
    assert (source, shared) == (long, 2)


def test_what_others_wrote_is_not_looked_at() -> None:
    """Prefixes of other owners are not reused, in free slots nor in busy ones. The last job decides a slot's
    owner."""
    slots = Slots(2, 100)
    slot, _, _ = slots.acquire([1, 2, 3, 4], 10, "ann")
    slot.tokens = [1, 2, 3, 4]
    other, _, shared = slots.acquire([1, 2, 3, 4], 10, "bob")
    assert (other is slot, shared) == (False, 0)
    other.tokens = [1, 2, 3, 4]
    slots.release(slot)
    slots.release(other)
    assert slots.acquire([1, 2, 3, 4], 10, "bob") == (other, other, 3)
    _, _, shared = slots.acquire([1, 2, 3, 4], 10, "cid")
    assert shared == 0
    slots.release(slot)
    assert slots.acquire([1, 2, 3, 4], 10, "ann")[2] == 0


def test_room_is_what_is_not_reserved() -> None:
    """Jobs are admitted while slots are free, and cache for their longest answers."""
    slots = Slots(3, 25)
    slot, _, _ = slots.acquire([1], 10)
    assert slots.has_room(15)
    assert not slots.has_room(16)
    slots.acquire([2], 10)
    slots.acquire([3], 5)
    assert not slots.has_room(0)
    slots.release(slot)
    assert slots.has_room(10)


def test_idle_caches_make_way_for_reservations() -> None:
    """The oldest idle caches are evicted when reservations need their place."""
    slots = Slots(3, 30)
    for start in (0, 100):
        slot, _, _ = slots.acquire([start, start + 1], 10)
        slot.tokens = list(range(start, start + 10))
        slots.release(slot)
    slots.acquire([500, 501], 15)
    assert [slot.tokens[0] for slot in slots.slots_to_evict()] == [0]
