"""Runs of one request, of one sequence or several, on an engine."""

import asyncio
from collections.abc import Sequence

import pytest
from support.engine import run_engine, text_of, text_request
from support.runs import Books, Taken, run_of

from jan.engine.backends.echo import EchoBackend, EchoOptions
from jan.engine.base import Event, Finished, Started
from jan.engine.runtime.executor import ThreadedEngine
from jan.errors import InternalError, InvalidRequest, RateLimited

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
    """What comes until then is kept in order, and the end is still told as the end."""

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
