"""Runs of one request, of one sequence or several, on an engine."""

import asyncio
import time
from collections.abc import Sequence

import pytest
from support.engine import run_engine, text_of, text_request
from support.runs import Books, Taken, run_of

from jan.engine.backends.echo import EchoBackend, EchoOptions
from jan.engine.base import Event, Finished, Started
from jan.engine.runtime.executor import ThreadedEngine
from jan.errors import InternalError, InvalidRequest, RateLimited, Unavailable
from jan.generation.pipeline import Run
from jan.limits.memory import MemoryCounters
from jan.storage.accounting import Counter

SLOW = EchoOptions(context=50, repeat=100, step_seconds=0.001)


async def idle(engine: ThreadedEngine) -> None:
    while engine.stats.running or engine.stats.waiting:
        await asyncio.sleep(0.001)


def test_a_refusal_comes_before_any_event() -> None:
    """Where the last of several sequences is refused, nothing of the others is seen: a server can still answer
    with a status of its own. The others are cancelled, and nothing is counted."""

    async def scenario(engine: ThreadedEngine) -> None:
        books = Books(tokens_per_day=1000)
        run = run_of(engine, text_request("one"), text_request("two"), text_request("word " * 100), books=books)
        with pytest.raises(InvalidRequest):
            await run.start()
        await idle(engine)
        assert await books.used() == [0]
        assert run.count.used is None

    run_engine(lambda: EchoBackend(SLOW), scenario)


def test_every_sequence_comes_whole() -> None:
    """However many must wait for a slot, each sequence has its own beginning, pieces and end; the last event
    of all is known as such."""

    async def scenario(engine: ThreadedEngine) -> None:
        run, taken = run_of(engine, *(text_request(f"text {number}") for number in range(5))), Taken()
        answers = run.collect()
        await run.start()
        run.attach(taken)
        await run.ended()
        await run.close()
        assert taken.ended
        for index in range(5):
            own = taken.of(index)
            assert isinstance(own[0], Started)
            assert isinstance(own[-1], Finished)
            assert text_of(own) == answers.answers[index].text == f"text {index}"
        assert (run.count.usage.prompt_tokens, run.count.usage.completion_tokens) == (10, 10)

    run_engine(lambda: EchoBackend(EchoOptions(slots=2)), scenario)


def test_an_answer_that_ends_before_there_is_a_sink() -> None:
    """Events that arrive before the sink are kept in order, and the end still counts as the end."""

    async def scenario(engine: ThreadedEngine) -> None:
        run, taken = run_of(engine, text_request("one two"), text_request("three")), Taken()
        await run.start()
        await idle(engine)
        await asyncio.sleep(0.01)
        run.attach(taken)
        assert taken.ended
        await run.ended()
        await run.close()
        assert [text_of(taken.of(index)) for index in (0, 1)] == ["one two", "three"]

    run_engine(lambda: EchoBackend(EchoOptions()), scenario)


def test_an_engine_that_fails_before_there_is_a_sink() -> None:
    """The error is raised as it is, and the sink never gets a delivery without events."""

    class Strict(Taken):
        def take(self, index: int, events: Sequence[Event], at: float, last: bool) -> None:
            assert events
            super().take(index, events, at, last)

    async def scenario(engine: ThreadedEngine) -> None:
        run = run_of(engine, text_request("one"), text_request("two"))
        await run.start()
        await engine.close()  # fails all jobs
        run.attach(Strict())
        with pytest.raises(Unavailable):
            await run.ended()
        await run.close()

    run_engine(lambda: EchoBackend(SLOW), scenario)


def test_only_a_granted_request_has_a_first_token() -> None:
    """An engine may have said much before the budget is asked. Of a refused request, nobody gets any of it."""

    async def scenario(engine: ThreadedEngine) -> None:
        books = Books(tokens_per_day=30)
        granted = run_of(engine, text_request("word " * 5, max_tokens=2), books=books)
        refused = run_of(engine, text_request("word " * 25, max_tokens=20), books=books)
        await granted.start()
        starting = asyncio.create_task(refused.start())
        await asyncio.sleep(0)  # it is submitted now,
        await asyncio.sleep(0)  # and sent at the end of that turn
        while engine.stats.finished < 2:
            time.sleep(0.001)  # noqa: ASYNC251 - the loop stands still, so all its events come at once
        with pytest.raises(RateLimited):
            await starting
        assert "first_token_ms" not in refused.record.log_fields()
        assert "queue_ms" not in refused.record.log_fields()
        assert refused.record.accepted_at is not None
        granted.attach(Taken())
        await granted.ended()
        await granted.close()
        assert "first_token_ms" in granted.record.log_fields()
        assert books.metrics.registry.get_sample_value("jan_first_token_seconds_count", {"model": "test"}) == 1

    run_engine(lambda: EchoBackend(EchoOptions()), scenario)


def test_the_end_is_told_even_if_the_wait_for_the_books_is_cut_short() -> None:
    """A client leaves, and then the server stops: the request is cancelled twice."""
    told: list[Run] = []

    class StuckCounters(MemoryCounters):
        waits = True

        async def adjust(self, counter: Counter, change: int) -> None:
            await asyncio.Event().wait()

    async def scenario(engine: ThreadedEngine) -> None:
        books = Books(tokens_per_day=1000)
        books.taker.counters = StuckCounters()
        run = run_of(engine, text_request("a"), books=books)
        run.on_end.append(told.append)
        await run.start()
        closing = asyncio.create_task(run.close())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert told == [run]

    run_engine(lambda: EchoBackend(SLOW), scenario)


def test_a_budget_without_room_refuses_and_cancels() -> None:
    """Once the prompt's length is known: nothing is generated for a request that may not take what it asks for."""

    async def scenario(engine: ThreadedEngine) -> None:
        books = Books(tokens_per_day=30)
        run = run_of(engine, text_request("word " * 25, max_tokens=20), books=books)
        with pytest.raises(RateLimited):
            await run.start()
        await idle(engine)
        assert await books.used() == [0]

    run_engine(lambda: EchoBackend(SLOW), scenario)


def test_a_sink_that_fails_ends_its_run_alone() -> None:
    """Whoever waits for the end is told; another run on the same engine goes on."""

    class Broken:
        def take(self, index: int, events: Sequence[Event], at: float, last: bool) -> None:
            raise InternalError("pretended")

    async def scenario(engine: ThreadedEngine) -> None:
        broken, whole, taken = run_of(engine, text_request("a")), run_of(engine, text_request("b ")), Taken()
        await broken.start()
        await whole.start()
        whole.attach(taken)
        with pytest.raises(InternalError):  # noqa: PT012 - it may come with the first events or with later ones
            broken.attach(Broken())
            await broken.ended()
        await broken.close()
        await whole.ended()
        await whole.close()
        assert text_of(taken.of(0)) == "b " * 40
        assert engine.stats.cancelled == 1

    run_engine(lambda: EchoBackend(EchoOptions(repeat=40, step_seconds=0.001)), scenario)


def test_closing_cancels_and_settles_what_was_used() -> None:
    """Whoever leaves pays for what came until then; closing again changes nothing, and the end is told once."""
    told: list[int] = []

    async def scenario(engine: ThreadedEngine) -> None:
        books = Books(tokens_per_day=1000)
        run, taken = run_of(engine, text_request("a b", max_tokens=500), books=books), Taken()
        run.on_end.append(lambda ended: told.append(ended.count.usage.completion_tokens))
        await run.start()
        run.attach(taken)
        while len(taken.events) < 10:
            await asyncio.sleep(0.001)
        await run.close()
        await run.close()
        await idle(engine)
        assert engine.stats.cancelled == 1
        assert await books.used() == [2 + told[0]]
        assert 5 <= told[0] < 100
        assert len(told) == 1

    run_engine(lambda: EchoBackend(EchoOptions(context=1000, repeat=500, step_seconds=0.002)), scenario)
