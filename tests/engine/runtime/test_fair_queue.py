"""The fair queue: the order of jobs, and how many may wait."""

import random
from collections import Counter

import pytest

from jan.engine.runtime.fair_queue import FairQueue, largest_share
from jan.errors import Unavailable


def fill(queue: FairQueue[str], owner: str, count: int, cost: int = 10, priority: str = "normal") -> None:
    for number in range(1, count + 1):
        queue.push(owner, f"{owner}{number}", cost, priority)  # type: ignore[arg-type]


def take(queue: FairQueue[str], count: int) -> list[str]:
    return [queue.pop() for _ in range(count)]


@pytest.mark.parametrize("served_before", [0, 1, 50])
def test_a_newcomer_waits_for_about_one_job(served_before: int) -> None:
    """One request behind another owner's hundred begins after at most one of them, whenever it comes."""
    queue: FairQueue[str] = FairQueue(1000)
    fill(queue, "a", 100)
    take(queue, served_before)
    fill(queue, "b", 1)
    assert "b1" in take(queue, 2)


def test_owners_share_tokens_not_requests() -> None:
    """An owner of long jobs and an owner of short jobs each get about half of the tokens."""
    queue: FairQueue[str] = FairQueue(10_000)
    fill(queue, "long", 50, cost=1000)
    fill(queue, "short", 2000, cost=30)
    served: Counter[str] = Counter()
    while queue and sum(served.values()) < 40_000:
        owner = "long" if queue.pop().startswith("long") else "short"
        served[owner] += 1000 if owner == "long" else 30
    assert abs(served["long"] - served["short"]) <= 1000


@pytest.mark.parametrize("charged", [1, 1000])
def test_owners_share_what_their_jobs_really_take(charged: int) -> None:
    """Two owners each get half of the tokens, even if jobs were charged too little or too much and settled
    later."""
    queue: FairQueue[str] = FairQueue(10_000)
    fill(queue, "a", 400, cost=charged)
    fill(queue, "b", 400, cost=100)
    served: Counter[str] = Counter()
    for _ in range(400):
        owner = queue.pop()[0]
        queue.settle(owner, 100 - (charged if owner == "a" else 100))
        served[owner] += 1
    assert abs(served["a"] - served["b"]) <= 10


def test_what_is_given_back_is_no_more_than_was_spent() -> None:
    """A large refund puts an owner back to where it joined, and no further. Without waiting jobs it has no
    effect."""
    queue: FairQueue[str] = FairQueue(1000)
    fill(queue, "a", 100)
    fill(queue, "b", 100)
    take(queue, 40)
    queue.settle("a", -100_000)
    queue.settle("nobody", 100_000)
    assert Counter(item[0] for item in take(queue, 40)) == {"a": 30, "b": 10}
    fill(queue, "nobody", 1)
    assert "nobody1" in take(queue, 3)
    while queue:
        assert queue.peek() == queue.order()[0][0] == queue.pop()


def test_classes_share_by_weight() -> None:
    """Of any 13 equal jobs, 8 of the high class begin, 4 of the normal one, and 1 of the low one: nothing
    starves."""
    queue: FairQueue[str] = FairQueue(1000)
    for priority in ("low", "normal", "high"):
        fill(queue, priority, 100, cost=7, priority=priority)
    for _ in range(5):
        assert Counter(item.rstrip("0123456789") for item in take(queue, 13)) == {"high": 8, "normal": 4, "low": 1}


def test_a_class_that_had_nothing_saves_nothing_up() -> None:
    """A class that comes late gets its share from then on, and no credit for the time before."""
    queue: FairQueue[str] = FairQueue(1000)
    fill(queue, "normal", 100)
    take(queue, 60)
    fill(queue, "high", 30, priority="high")
    first = Counter(item.rstrip("0123456789") for item in take(queue, 9))
    assert first["normal"] >= 2


def test_a_large_job_is_not_overtaken_for_ever() -> None:
    """Small jobs of new owners overtake a large one only until they have had as many tokens."""
    queue: FairQueue[str] = FairQueue(1000)
    queue.push("large", "large", 1000)
    passed = 0
    for number in range(1000):
        fill(queue, f"owner{number}-", 1, cost=50)
        if queue.pop() == "large":
            break
        passed += 1
    assert passed <= 20


def test_the_order_is_the_one_in_which_they_are_served() -> None:
    """The reported order is the real one, for random owners, costs and classes, while jobs begin, come and are
    cancelled."""
    draw = random.Random(7)
    queue: FairQueue[int] = FairQueue(10_000)
    where = {}
    for item in range(600):
        owner, priority = draw.choice("abcdef"), draw.choice(("high", "normal", "low"))
        queue.push(owner, item, draw.randint(1, 500), priority)
        where[item] = owner, priority
        if item % 3 == 0:
            first = queue.order()[0][0]
            assert queue.peek() == first
            assert queue.pop() == first
        elif item % 7 == 0:
            victim = draw.choice([item for item, _ in queue.order()])
            owner, priority = where[victim]
            assert queue.remove(owner, victim, priority)
    order = [item for item, _ in queue.order()]
    assert [queue.pop() for _ in range(len(queue))] == order
    assert (len(queue), queue.tokens, queue.peek()) == (0, 0, None)


def test_a_full_queue_refuses_with_a_hint() -> None:
    """A full queue refuses as overloaded, and says when to try again."""
    queue: FairQueue[str] = FairQueue(1)
    fill(queue, "a", 1)
    with pytest.raises(Unavailable) as refused:
        fill(queue, "b", 1)
    assert refused.value.code == "overloaded"
    assert int(refused.value.headers["Retry-After"]) * 1000 == int(refused.value.headers["retry-after-ms"]) > 0
    assert refused.value.headers["x-should-retry"] == "true"
    assert len(queue) == 1


def accepted(queue: FairQueue[str], owner: str) -> int:
    """Fill the queue for one owner; returns the number of accepted jobs."""
    before = len(queue)
    with pytest.raises(Unavailable, match="waiting"):
        fill(queue, f"{owner}-", 10_000)
    return len(queue) - before


@pytest.mark.parametrize("limit", [1, 2, 7, 256])
def test_one_owner_gets_half_of_an_empty_queue(limit: int) -> None:
    """A single owner can not fill the queue, and ``largest_share`` says how much it gets."""
    assert accepted(FairQueue(limit), "a") == largest_share(limit) == (limit + 1) // 2


def test_there_is_room_for_somebody_new() -> None:
    """However many owners try to fill the queue, a new owner still gets a place while there is one."""
    queue: FairQueue[str] = FairQueue(256)
    counts = []
    while len(queue) < 256:
        counts.append(accepted(queue, f"owner{len(counts)}"))
    assert counts[:4] == [128, 64, 32, 16]
    assert all(counts)


def test_a_share_grows_back() -> None:
    """An owner that was refused is accepted again as its jobs begin."""
    queue: FairQueue[str] = FairQueue(8)
    assert accepted(queue, "a") == 4
    queue.pop()
    assert accepted(queue, "a") == 1


def test_items_can_be_taken_out_of_the_middle() -> None:
    """A cancelled request leaves the queue at any position, only in its own class."""
    queue: FairQueue[str] = FairQueue(10)
    fill(queue, "a", 3)
    assert not queue.remove("a", "a2", "low")
    assert queue.remove("a", "a2")
    assert not queue.remove("a", "a2")
    assert not queue.remove("b", "a1")
    assert queue.tokens == 20
    assert queue.drain() == ["a1", "a3"]
    assert len(queue) == 0
