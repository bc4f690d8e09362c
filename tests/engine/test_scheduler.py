"""Turns and bounds."""

import pytest

from jan.engine.scheduler import FairQueue
from jan.errors import Unavailable


def test_owners_take_turns() -> None:
    """One request behind another user's backlog is served second, not last."""
    queue: FairQueue[str] = FairQueue(10)
    for item in ("a1", "a2", "a3"):
        queue.push("a", item)
    queue.push("b", "b1")
    assert [queue.pop() for _ in range(4)] == ["a1", "b1", "a2", "a3"]
    assert queue.peek() is None


def test_a_full_queue_refuses_with_a_hint() -> None:
    """Past its limit the queue refuses as overloaded and says when to come again."""
    queue: FairQueue[int] = FairQueue(1)
    queue.push("a", 1)
    with pytest.raises(Unavailable) as refused:
        queue.push("b", 2)
    assert refused.value.code == "overloaded"
    assert int(refused.value.headers["Retry-After"]) > 0
    assert len(queue) == 1


def test_items_can_be_taken_out_of_the_middle() -> None:
    """A cancelled request leaves the queue wherever it stands."""
    queue: FairQueue[int] = FairQueue(10)
    for item in (1, 2, 3):
        queue.push("a", item)
    assert queue.remove("a", 2)
    assert not queue.remove("a", 2)
    assert not queue.remove("b", 1)
    assert queue.drain() == [1, 3]
    assert len(queue) == 0
