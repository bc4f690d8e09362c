"""The contract of every engine, as tests that its author runs.

from jan.testing import BackendContract

class TestMyBackend(BackendContract):
    def make(self):
        return MyBackend(MyBackend.Options(slots=4, context=64))
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec
import pytest

from jan.engine.base import (
    Backend,
    Delta,
    Engine,
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
from jan.errors import InvalidRequest, Unavailable
from jan.testing.engines import collect, end_of, run_engine, text_of, text_request

PROMPT = "one two three four"
SLOTS, CONTEXT = 4, 64
GREEDY: dict[str, Any] = {"sampling": Sampling(temperature=0)}


class EngineContract:
    """The promises of every engine. A subclass, whose name begins with Test, says how to make it.

    The engine has a context of 64 tokens, and answers every prompt with some text of more than 12 tokens.
    """

    #: Options of a request whose answer does not end by itself before 50 tokens, if that needs any.
    endless: Mapping[str, Any] = MappingProxyType({})

    def make(self) -> Backend | Engine:
        """Make the engine, or a backend for one, not loaded yet."""
        raise NotImplementedError

    def run(self, scenario: Callable[[Engine], Awaitable[Any]], **rules: Any) -> None:
        """Run a scenario on a started engine."""
        run_engine(self.make, scenario, **rules)

    def test_events_come_in_order(self) -> None:
        """Started first, then deltas, then exactly one Finished; the counts are right."""

        async def scenario(engine: Engine) -> None:
            events = await collect(engine, text_request(PROMPT, max_tokens=5))
            assert isinstance(events[0], Started)
            assert all(isinstance(event, Delta) for event in events[1:-1])
            end = end_of(events)
            assert end.prompt_tokens == events[0].prompt_tokens > 0
            assert end.completion_tokens == sum(e.tokens for e in events if isinstance(e, Delta)) <= 5

        self.run(scenario)

    def test_more_requests_than_slots_are_all_served(self) -> None:
        """Requests beyond the slots wait and are served; nothing is lost, every one ends."""

        async def scenario(engine: Engine) -> None:
            results = await asyncio.gather(
                *(collect(engine, text_request(PROMPT, max_tokens=6)) for _ in range(10))
            )
            assert all(isinstance(events[-1], Finished) for events in results)
            assert engine.stats.finished == 10
            assert (engine.stats.running, engine.stats.waiting) == (0, 0)

        self.run(scenario)

    def test_a_request_can_be_prepared_beforehand(self) -> None:
        """Its length is known before it is queued. Once submitted, it is served like any other, and only once."""

        async def scenario(engine: Engine) -> None:
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

        self.run(scenario)

    def test_sequences_may_share_a_prompt(self) -> None:
        """Requests with the same prompt, prepared before or not, give what one of them gives alone."""

        async def scenario(engine: Engine) -> None:
            request = text_request(PROMPT, max_tokens=5, **GREEDY)
            alone = text_of(await collect(engine, request))
            prepared = [await engine.prepare(request) for _ in range(3)]
            assert len({one.job_id for one in prepared}) == 3
            streams = [events_of(engine, one) for one in prepared]
            streams += [events_of(engine, request) for _ in range(2)]
            for stream in streams:
                assert text_of([event async for event in stream]) == alone

        self.run(scenario)

    def test_what_can_not_be_served_is_not_prepared(self) -> None:
        """``prepare`` raises the error that ``submit`` would, and nothing remains."""

        async def scenario(engine: Engine) -> None:
            with pytest.raises(InvalidRequest) as refused:
                await engine.prepare(text_request("word " * 100))
            assert refused.value.code == "context_length_exceeded"
            prepared = await engine.prepare(text_request(PROMPT))
            engine.cancel(prepared.job_id)
            engine.cancel(prepared.job_id)
            with pytest.raises(Unavailable):
                await anext(events_of(engine, prepared))
            assert isinstance((await collect(engine, text_request(PROMPT, max_tokens=2)))[-1], Finished)

        self.run(scenario)

    def test_after_a_cancel_nothing_comes(self) -> None:
        """Cancelling is one call, may be repeated, and the receiver gets nothing from then on."""

        async def scenario(engine: Engine) -> None:
            received: list[Event] = []
            job_id = await engine.submit(
                text_request(PROMPT, max_tokens=40, **self.endless), lambda events, _at: received.extend(events)
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

        self.run(scenario)

    def test_what_crosses_can_be_encoded(self) -> None:
        """Requests, prepared requests and all events survive encoding to msgpack and decoding."""

        def again(value: Any, kind: Any) -> Any:
            return msgspec.msgpack.decode(msgspec.msgpack.encode(value), type=kind)

        async def scenario(engine: Engine) -> None:
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

        self.run(scenario)

    def test_a_prompt_that_is_too_long_is_refused_with_both_numbers(self) -> None:
        """The refusal comes before any event and names the prompt's length and the context's."""

        async def scenario(engine: Engine) -> None:
            with pytest.raises(InvalidRequest) as refused:
                await collect(engine, text_request("word " * 100))
            assert refused.value.code == "context_length_exceeded"
            assert f"{CONTEXT} tokens" in refused.value.message
            assert engine.stats.failed == 1

        self.run(scenario)

    def test_the_context_is_the_limit_where_none_is_given(self) -> None:
        """Without max_tokens, or with one beyond the context, the answer ends where the context is full."""

        async def scenario(engine: Engine) -> None:
            prompt = "word " * 55
            for limit in (None, 10_000):
                end = end_of(await collect(engine, text_request(prompt, max_tokens=limit)))
                assert end.reason in ("length", "stop")
                assert end.prompt_tokens + end.completion_tokens <= CONTEXT

        self.run(scenario)

    def test_no_tokens_at_all(self) -> None:
        """max_tokens 0 counts the prompt and generates nothing."""

        async def scenario(engine: Engine) -> None:
            events = await collect(engine, text_request(PROMPT, max_tokens=0))
            assert text_of(events) == ""
            assert end_of(events).completion_tokens == 0
            assert end_of(events).reason == "length"

        self.run(scenario)

    def test_stop_strings_end_the_answer(self) -> None:
        """The text ends before the stop string, with reason stop."""

        async def scenario(engine: Engine) -> None:
            free = text_of(await collect(engine, text_request(PROMPT, max_tokens=12, **GREEDY)))
            stop = free[len(free) // 2 :][:3]
            events = await collect(engine, text_request(PROMPT, max_tokens=12, stop=(stop,), **GREEDY))
            assert text_of(events) == free[: free.index(stop)]
            assert end_of(events).reason == "stop"

        self.run(scenario)

    def test_a_closed_engine_refuses(self) -> None:
        """After close, a request is refused as unavailable and the engine is not healthy."""

        async def scenario(engine: Engine) -> None:
            await engine.close()
            assert not engine.healthy
            with pytest.raises(Unavailable):
                await collect(engine, text_request(PROMPT))

        self.run(scenario)

    def test_what_a_model_can_not_do_is_refused(self) -> None:
        """Log probabilities, formats and token prompts are either served or refused, never ignored."""

        async def scenario(engine: Engine) -> None:
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

        self.run(scenario)
