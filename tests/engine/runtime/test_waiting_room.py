"""The waiting room: positions, expected waits, timeouts and counts."""

from typing import Any

import pytest
from support.engine import text_request

from jan.engine.backends.echo import EchoBackend, EchoOptions
from jan.engine.rules import EngineRules
from jan.engine.runtime.job import Job
from jan.engine.runtime.waiting_room import WaitingRoom
from jan.engine.stats import WAIT_BOUNDS, EngineStats
from jan.errors import Unavailable


@pytest.fixture
def stats() -> EngineStats:
    return EngineStats()


@pytest.fixture
def room(stats: EngineStats) -> WaitingRoom:
    return WaitingRoom(EngineRules(max_waiting=100, queue_timeout_seconds=60), stats)


def job(owner: str = "a", words: int = 10, **options: Any) -> Job:
    """Return a prepared job of twice ``words`` tokens."""
    request = text_request("w " * words, owner=owner, max_tokens=words, **options)
    made = Job(0, request)
    made.prepared = EchoBackend(EchoOptions()).prepare(request)
    return made


def test_places_are_told_when_they_change(room: WaitingRoom) -> None:
    """Each job gets its position at once, and again when it changes, at most once a second."""
    first, second, other = job(), job(), job("b")
    room.push(first, 100.0)
    room.push(second, 100.0)
    assert {queued.position for _, queued in room.position_updates(100.0)} == {1, 2}
    room.push(other, 100.1)
    assert room.position_updates(100.5) == []
    updates = dict(room.position_updates(101.1))
    assert {waiting: queued.position for waiting, queued in updates.items()} == {second: 3, other: 2}
    assert room.position_updates(103.0) == []


def test_the_estimate_follows_the_throughput(room: WaitingRoom) -> None:
    """Without experience there is no estimate. Then it is the tokens up to the end of the job over the tokens that
    begin per second, and it grows while nothing begins."""
    for _ in range(13):
        room.push(job(), 0.0)
    room.mark_saturated(0.0)
    assert {queued.estimate_seconds for _, queued in room.position_updates(0.0)} == {None}
    for second in range(1, 11):
        room.pop(float(second))
    now = sorted((queued.position, queued.estimate_seconds) for _, queued in room.position_updates(10.0))
    assert now == [(1, 1), (2, 2), (3, 3)]
    later = sorted((queued.position, queued.estimate_seconds) for _, queued in room.position_updates(30.0))
    assert all(seconds is not None and seconds > position for position, seconds in later)


def test_what_began_at_once_says_nothing_of_the_queue(room: WaitingRoom) -> None:
    """Jobs that found a slot at once do not count for the drain rate, and neither does time without a queue."""
    for _ in range(50):
        room.push(job(), 0.0)
        room.pop(0.0)
    room.push(job(), 1000.0)
    room.push(job(), 1000.0)
    room.mark_saturated(1000.0)
    assert {queued.estimate_seconds for _, queued in room.position_updates(1000.0)} == {None}
    room.pop(1002.0)
    assert [queued.estimate_seconds for _, queued in room.position_updates(1002.0)] == [2]


def test_who_waits_too_long_is_taken_out(room: WaitingRoom, stats: EngineStats) -> None:
    """Jobs expire by their arrival, at any position in the queue."""
    early, late = job(priority="low"), job("b", priority="high")
    room.push(early, 0.0)
    room.push(late, 30.0)
    assert room.pop_expired(59.9) == []
    assert room.pop_expired(60.0) == [early]
    assert room.peek() is late
    assert (stats.waiting, stats.timed_out) == (1, 1)


def test_waits_and_tokens_are_counted(room: WaitingRoom, stats: EngineStats) -> None:
    """Waiting tokens are of this moment; waits are counted in the buckets that Prometheus wants."""
    room.push(job(words=10), 0.0)
    room.push(job(words=5), 0.0)
    assert stats.waiting_tokens == 30
    room.pop(0.02)
    room.pop(1000.0)
    assert stats.waiting_tokens == 0
    assert stats.waits.total == pytest.approx(1000.02)
    buckets = dict(stats.waits.buckets())
    assert (buckets["0.01"], buckets["0.05"], buckets[str(WAIT_BOUNDS[-1])], buckets["+Inf"]) == (0, 1, 1, 2)


def test_refusals_are_counted(stats: EngineStats) -> None:
    """A refused job counts as overloaded."""
    room = WaitingRoom(EngineRules(max_waiting=1), stats)
    room.push(job(), 0.0)
    with pytest.raises(Unavailable):
        room.push(job("b"), 0.0)
    assert stats.overloaded == 1


def test_thousands_cancel(stats: EngineStats) -> None:
    """Ten thousand waiting requests of one owner leave in any order, and nothing remains."""
    room = WaitingRoom(EngineRules(max_waiting=20_000), stats)
    jobs = [job() for _ in range(10_000)]
    for waiting in jobs:
        room.push(waiting, 0.0)
    for waiting in [*jobs[::2], *jobs[1::2][::-1]]:
        assert room.remove(waiting)
    assert (len(room), stats.waiting, stats.waiting_tokens, room.peek()) == (0, 0, 0, None)


def test_who_sets_no_limit_waits_for_about_one_job_too() -> None:
    """A request without max_tokens, behind another owner's hundred short ones, is charged for an expected answer
    and not for the whole context."""
    backend = EchoBackend(EchoOptions(context=100_000))
    room = WaitingRoom(EngineRules(max_waiting=1000), EngineStats())

    def push(owner: str, **options: Any) -> Job:
        request = text_request("w " * 10, owner=owner, **options)
        made = Job(0, request)
        made.prepared = backend.prepare(request)
        room.push(made, 0.0)
        return made

    for _ in range(100):
        push("many", max_tokens=20)
    for _ in range(3):
        ended = room.pop(1.0)
        ended.generated = 20
        room.settle(ended)
    single = push("single")
    assert single in [room.pop(2.0) for _ in range(3)]
