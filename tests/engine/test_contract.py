"""The contract of every engine, checked for every backend that runs here."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from support.engine import collect, end_of, run_engine, text_of, text_request

from jan.engine.base import (
    Backend,
    Delta,
    Event,
    Failed,
    Finished,
    GenerationRequest,
    PreparedRequest,
    Sampling,
    Started,
    TokenPrompt,
)
from jan.engine.formats import OutputFormat
from jan.engine.iterate import events_of
from jan.engine.runtime.executor import ThreadedEngine
from jan.errors import InvalidRequest, Unavailable

Make = Callable[[], Backend]
PROMPT = "one two three four"
GREEDY: dict[str, Any] = {"sampling": Sampling(temperature=0)}
# For the real model: not before the limit. Its end tokens are never taken.
ENDLESS: dict[str, Any] = {"sampling": Sampling(logit_bias={0: -100.0, 2: -100.0})}


def test_events_come_in_order(make_backend: Make) -> None:
    """Started first, then deltas, then exactly one Finished; the counts are right."""

    async def scenario(engine: ThreadedEngine) -> None:
        events = await collect(engine, text_request(PROMPT, max_tokens=5))
        assert isinstance(events[0], Started)
        assert all(isinstance(event, Delta) for event in events[1:-1])
        end = end_of(events)
        assert end.prompt_tokens == events[0].prompt_tokens > 0
        assert end.completion_tokens == sum(e.tokens for e in events if isinstance(e, Delta)) <= 5

    run_engine(make_backend, scenario)


def test_more_requests_than_slots_are_all_served(make_backend: Make) -> None:
    """Requests beyond the slots wait and are served; nothing is lost, every one ends."""

    async def scenario(engine: ThreadedEngine) -> None:
        results = await asyncio.gather(*(collect(engine, text_request(PROMPT, max_tokens=6)) for _ in range(10)))
        assert all(isinstance(events[-1], Finished) for events in results)
        assert engine.stats.finished == 10
        assert (engine.stats.running, engine.stats.waiting) == (0, 0)

    run_engine(make_backend, scenario)


def test_a_request_can_be_prepared_beforehand(make_backend: Make) -> None:
    """Its length is known before it is queued. Once submitted, it is served like any other, and only once."""

    async def scenario(engine: ThreadedEngine) -> None:
        request = text_request(PROMPT, max_tokens=5, **GREEDY)
        prepared = await engine.prepare(request)
        assert (engine.stats.waiting, engine.stats.running, engine.stats.prompt_tokens) == (0, 0, 0)
        assert prepared.limit == 5
        events = [event async for event in events_of(engine, prepared)]
        assert isinstance(events[0], Started)
        assert events[0].prompt_tokens == prepared.prompt_tokens
        assert text_of(events) == text_of(await collect(engine, request))
        with pytest.raises(Unavailable):
            await anext(events_of(engine, prepared))

    run_engine(make_backend, scenario)


def test_what_can_not_be_served_is_not_prepared(make_backend: Make) -> None:
    """``prepare`` raises the error that ``submit`` would, and nothing remains."""

    async def scenario(engine: ThreadedEngine) -> None:
        with pytest.raises(InvalidRequest) as refused:
            await engine.prepare(text_request("word " * 100))
        assert refused.value.code == "context_length_exceeded"
        prepared = await engine.prepare(text_request(PROMPT))
        engine.cancel(prepared.job_id)
        engine.cancel(prepared.job_id)
        with pytest.raises(Unavailable):
            await anext(events_of(engine, prepared))
        assert isinstance((await collect(engine, text_request(PROMPT, max_tokens=2)))[-1], Finished)

    run_engine(make_backend, scenario)


def test_after_a_cancel_nothing_comes(make_backend: Make) -> None:
    """Cancelling is one call, may be repeated, and the receiver gets nothing from then on."""

    async def scenario(engine: ThreadedEngine) -> None:
        received: list[Event] = []
        job_id = await engine.submit(
            text_request(PROMPT, max_tokens=40, **ENDLESS), lambda events, _at: received.extend(events)
        )
        while not any(isinstance(event, Delta) for event in received):
            await asyncio.sleep(0)
        engine.cancel(job_id)
        engine.cancel(job_id)
        count = len(received)
        while engine.stats.cancelled < 1:
            await asyncio.sleep(0)
        assert engine.stats.cancelled == 1
        assert len(received) == count
        assert not isinstance(received[-1], Finished)

    run_engine(make_backend, scenario)


def test_what_crosses_can_be_encoded(make_backend: Make) -> None:
    """Requests, prepared requests and all events survive encoding to msgpack and decoding."""

    def again(value: Any, kind: Any) -> Any:
        return msgspec.msgpack.decode(msgspec.msgpack.encode(value), type=kind)

    async def scenario(engine: ThreadedEngine) -> None:
        request = text_request(PROMPT, max_tokens=5)
        assert again(request, GenerationRequest) == request
        prepared = await engine.prepare(request)
        assert again(prepared, PreparedRequest) == prepared
        events = [event async for event in events_of(engine, prepared)]
        assert again(events, list[Event]) == events
        failed = Failed.of(Unavailable("Not now.", code="overloaded", headers={"Retry-After": "5"}))
        error = again(failed, Event).error()
        assert (type(error), error.message, error.code) == (Unavailable, "Not now.", "overloaded")
        assert error.headers == {"Retry-After": "5"}

    run_engine(make_backend, scenario)


def test_a_prompt_that_is_too_long_is_refused_with_both_numbers(make_backend: Make) -> None:
    """The refusal comes before any event and names the prompt's length and the context's."""

    async def scenario(engine: ThreadedEngine) -> None:
        with pytest.raises(InvalidRequest) as refused:
            await collect(engine, text_request("word " * 100))
        assert refused.value.code == "context_length_exceeded"
        assert "64 tokens" in refused.value.message
        assert engine.stats.failed == 1

    run_engine(make_backend, scenario)


def test_the_context_is_the_limit_where_none_is_given(make_backend: Make) -> None:
    """Without max_tokens, or with one beyond the context, the answer ends where the context is full."""

    async def scenario(engine: ThreadedEngine) -> None:
        prompt = "word " * 55
        for limit in (None, 10_000):
            end = end_of(await collect(engine, text_request(prompt, max_tokens=limit)))
            assert end.reason in ("length", "stop")
            assert end.prompt_tokens + end.completion_tokens <= 64

    run_engine(make_backend, scenario)


def test_no_tokens_at_all(make_backend: Make) -> None:
    """max_tokens 0 counts the prompt and generates nothing."""

    async def scenario(engine: ThreadedEngine) -> None:
        events = await collect(engine, text_request(PROMPT, max_tokens=0))
        assert text_of(events) == ""
        assert end_of(events).completion_tokens == 0
        assert end_of(events).reason == "length"

    run_engine(make_backend, scenario)


def test_closing_frees_the_slot_within_one_step(make_backend: Make) -> None:
    """Half of the running jobs are closed: at most one more step runs before they are gone, and the others end
    well. On a busy machine the loop may miss a step between counting and closing, but not time after time."""

    async def steps_of_closing(engine: ThreadedEngine) -> int:
        streams = [events_of(engine, text_request(PROMPT, max_tokens=40, **ENDLESS)) for _ in range(4)]
        for stream in streams:
            while not isinstance(await anext(stream), Delta):
                pass
        before, cancelled, finished = engine.stats.steps, engine.stats.cancelled, engine.stats.finished
        await asyncio.gather(*(stream.aclose() for stream in streams[:2]))
        while engine.stats.cancelled < cancelled + 2:
            await asyncio.sleep(0)
        steps = engine.stats.steps - before
        rest = [[event async for event in stream][-1] for stream in streams[2:]]
        assert all(isinstance(end, Finished) for end in rest)
        assert engine.stats.finished == finished + 2
        return steps

    async def scenario(engine: ThreadedEngine) -> None:
        for _ in range(5):
            steps = await steps_of_closing(engine)
            if steps <= 2:  # the one under way when closed, and the one of the count
                return
        raise AssertionError(f"closing takes {steps} steps")

    run_engine(make_backend, scenario)


def test_the_cache_is_counted(make_backend: Make) -> None:
    """Running answers reserve cache; ended and cancelled ones none."""

    async def scenario(engine: ThreadedEngine) -> None:
        cache = engine.info.cache
        assert cache is not None
        assert cache.total >= 4 * 64
        assert cache.used == 0
        streams = [events_of(engine, text_request(f"{n} {PROMPT}", max_tokens=40, **ENDLESS)) for n in range(3)]
        for stream in streams:
            while not isinstance(await anext(stream), Delta):
                pass
        assert 3 * 24 <= cache.used <= cache.total
        held = cache.used
        await streams[0].aclose()
        while engine.stats.cancelled < 1:
            await asyncio.sleep(0)
        assert 0 < cache.used < held
        for stream in streams[1:]:
            assert isinstance([event async for event in stream][-1], Finished)
        assert cache.used == 0

    run_engine(make_backend, scenario)


def test_a_waiting_request_can_be_cancelled(make_backend: Make) -> None:
    """Closing a request that waits for a slot takes it out of the queue."""

    async def scenario(engine: ThreadedEngine) -> None:
        streams = [events_of(engine, text_request(PROMPT, max_tokens=40, **ENDLESS)) for _ in range(5)]
        for stream in streams:
            assert isinstance(await anext(stream), Started)
        await streams[4].aclose()
        while engine.stats.cancelled < 1:
            await asyncio.sleep(0)
        assert engine.stats.waiting == 0
        for stream in streams[:4]:
            await stream.aclose()

    run_engine(make_backend, scenario)


def test_a_full_queue_refuses(make_backend: Make) -> None:
    """Past max_waiting a request is refused as overloaded, before any event."""

    async def scenario(engine: ThreadedEngine) -> None:
        streams = [events_of(engine, text_request(PROMPT, max_tokens=50, **ENDLESS)) for _ in range(5)]
        for stream in streams:
            await anext(stream)
        with pytest.raises(Unavailable) as refused:
            await collect(engine, text_request(PROMPT))
        assert refused.value.code == "overloaded"
        for stream in streams:
            await stream.aclose()

    run_engine(make_backend, scenario, max_waiting=1)


def test_stop_strings_end_the_answer(make_backend: Make) -> None:
    """The text ends before the stop string, with reason stop."""

    async def scenario(engine: ThreadedEngine) -> None:
        free = text_of(await collect(engine, text_request(PROMPT, max_tokens=12, **GREEDY)))
        stop = free[len(free) // 2 :][:3]
        events = await collect(engine, text_request(PROMPT, max_tokens=12, stop=(stop,), **GREEDY))
        assert text_of(events) == free[: free.index(stop)]
        assert end_of(events).reason == "stop"

    run_engine(make_backend, scenario)


def test_a_closed_engine_refuses(make_backend: Make) -> None:
    """After close, a request is refused as unavailable and the engine is not healthy."""

    async def scenario(engine: ThreadedEngine) -> None:
        await engine.close()
        assert not engine.healthy
        with pytest.raises(Unavailable):
            await collect(engine, text_request(PROMPT))

    run_engine(make_backend, scenario)


def test_closing_the_engine_ends_every_request(make_backend: Make) -> None:
    """Running and waiting requests fail, and none hangs."""

    async def scenario(engine: ThreadedEngine) -> None:
        tasks = [
            asyncio.create_task(collect(engine, text_request(PROMPT, max_tokens=50, **ENDLESS))) for _ in range(6)
        ]
        while engine.stats.running < 4:
            await asyncio.sleep(0)
        await engine.close()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert any(isinstance(end, Unavailable) for end in ends)
        assert all(isinstance(end, Unavailable | list) for end in ends)

    run_engine(make_backend, scenario)


def test_what_a_model_can_not_do_is_refused(make_backend: Make) -> None:
    """Log probabilities, formats and token prompts are either served or refused, never ignored."""

    async def scenario(engine: ThreadedEngine) -> None:
        schema = OutputFormat(json_schema='{"type": "object"}')
        wishes = (
            (engine.info.logprobs, text_request(PROMPT, max_tokens=2, logprobs=1)),
            (engine.info.output_formats, text_request(PROMPT, max_tokens=2, output=schema)),
            (engine.info.token_prompts, GenerationRequest(prompt=TokenPrompt((5, 6, 7)), max_tokens=2)),
        )
        for served, request in wishes:
            if served:
                end_of(await collect(engine, request))
            else:
                with pytest.raises(InvalidRequest, match="This model"):
                    await collect(engine, request)

    run_engine(make_backend, scenario)
