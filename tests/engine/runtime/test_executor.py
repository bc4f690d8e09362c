"""The executor when the backend fails, and when clients are slow."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest
from support.engine import collect, end_of, run_engine, text_of, text_request

from jan.engine.backends.echo import EchoBackend, EchoOptions
from jan.engine.base import Delta, GenerationRequest, JobId, OnProgress, Output
from jan.engine.iterate import events_of
from jan.engine.runtime.executor import ThreadedEngine
from jan.errors import ConfigurationError, InternalError, Unavailable


class FaultyBackend(EchoBackend):
    """An echo backend that fails where a test says."""

    def __init__(self, **faults: BaseException) -> None:
        super().__init__(EchoOptions(repeat=3))
        self._faults = faults
        self.resets = 0

    def _maybe_fail(self, where: str) -> None:
        if where in self._faults:
            raise self._faults.pop(where)

    def load(self, progress: OnProgress) -> Any:
        self._maybe_fail("load")
        return super().load(progress)

    def prepare(self, request: GenerationRequest) -> Any:
        self._maybe_fail("prepare")
        return super().prepare(request)

    def begin(self, job_id: JobId, job: Any) -> None:
        self._maybe_fail("begin")
        super().begin(job_id, job)

    def step(self) -> list[tuple[JobId, Output]]:
        self._maybe_fail("step")
        return super().step()

    def reset(self) -> None:
        self.resets += 1
        self._maybe_fail("reset")
        super().reset()


class FailingAfter(EchoBackend):
    """An echo backend whose step fails after a number of steps."""

    def __init__(self, steps: int) -> None:
        super().__init__(EchoOptions(step_seconds=0.002))
        self._left = steps

    def step(self) -> list[tuple[JobId, Output]]:
        self._left -= 1
        if self._left < 0:
            raise ValueError("broken")
        return super().step()


def test_a_failed_load_is_raised_at_start() -> None:
    """``start`` raises the exception of the backend's load, and the engine is not healthy."""

    async def main() -> None:
        engine = ThreadedEngine("test", lambda: FaultyBackend(load=ConfigurationError("no such file")))
        with pytest.raises(ConfigurationError, match="no such file"):
            await engine.start(lambda part: None)
        assert not engine.healthy
        with pytest.raises(Unavailable):
            await collect(engine, text_request("a"))
        await engine.close()

    asyncio.run(main())


def test_a_load_can_be_tried_again() -> None:
    """After a failed load, another start may succeed, and the engine serves."""

    async def main() -> None:
        backend = FaultyBackend(load=ConfigurationError("no such file"))
        engine = ThreadedEngine("test", lambda: backend)
        with pytest.raises(ConfigurationError):
            await engine.start(lambda part: None)
        await engine.start(lambda part: None)
        assert engine.healthy
        assert text_of(await collect(engine, text_request("a"))) == "aaa"
        await engine.close()

    asyncio.run(main())


@pytest.mark.parametrize("where", ["prepare", "step", "begin"])
def test_a_failure_hits_its_requests_only(where: str, caplog: pytest.LogCaptureFixture) -> None:
    """The failed request gets an internal error without details, and the next one is served."""

    async def scenario(engine: ThreadedEngine) -> None:
        with pytest.raises(InternalError) as failed:
            await collect(engine, text_request("secret words"))
        assert "secret" not in failed.value.message
        assert engine.healthy
        assert text_of(await collect(engine, text_request("again "))) == "again again again "
        assert engine.stats.running == engine.stats.waiting == 0

    run_engine(lambda: FaultyBackend(**{where: ValueError("secret detail")}), scenario)


def test_a_failure_that_can_not_be_mended_ends_the_engine_loudly() -> None:
    """If the reset after a failed step fails too, every request fails and the engine is not healthy."""

    async def scenario(engine: ThreadedEngine) -> None:
        with pytest.raises(InternalError):
            await collect(engine, text_request("a"))
        while engine.healthy:
            await asyncio.sleep(0.001)
        with pytest.raises(Unavailable):
            await collect(engine, text_request("b"))

    run_engine(lambda: FaultyBackend(step=ValueError("1"), reset=ValueError("2")), scenario)


def test_a_slow_consumer_finds_its_deltas_merged() -> None:
    """A slow reader gets one merged delta with its parts instead of many events; the counts are right."""

    async def scenario(engine: ThreadedEngine) -> None:
        stream = events_of(engine, text_request("w " * 300))
        await anext(stream)
        while engine.stats.finished < 1:
            await asyncio.sleep(0.001)
        # Events come in order: with a later request's, all of the first are there.
        await collect(engine, text_request("b "))
        rest = [event async for event in stream]
        deltas = [event for event in rest if isinstance(event, Delta)]
        assert len(deltas) <= 2
        assert text_of(rest) == "w " * 900
        assert sum(delta.tokens for delta in deltas) == end_of(rest).completion_tokens == 900
        assert [part.tokens for delta in deltas for part in delta.parts or (delta,) if part] == [1] * 900

    run_engine(lambda: EchoBackend(EchoOptions(repeat=3)), scenario)


@pytest.mark.parametrize("stop", [None, 7])
def test_of_a_whole_answer_few_deltas_come(stop: int | None) -> None:
    """A buffered answer comes in a few deltas, complete, also if it ends with an error. Its first token comes
    alone, for the time to the first token."""
    backend = EchoBackend(EchoOptions(step_seconds=0.002)) if stop is None else FailingAfter(stop)

    async def scenario(engine: ThreadedEngine) -> None:
        deltas: list[Delta] = []
        try:
            async for event in events_of(engine, text_request("w " * 100, buffered=True)):
                if isinstance(event, Delta) and event.tokens:
                    deltas.append(event)
        except InternalError:
            assert stop is not None
        said = stop or 100
        assert deltas[0].tokens == 1
        assert len(deltas) <= said / 2
        assert "".join(delta.text for delta in deltas) == "w " * said
        assert sum(delta.tokens for delta in deltas) == said

    run_engine(lambda: backend, scenario)


def test_one_delivery_a_step_serves_all_jobs() -> None:
    """A step calls the event loop once, however many jobs run."""

    async def scenario(engine: ThreadedEngine) -> None:
        loop = asyncio.get_running_loop()
        crossings = 0
        original: Callable[..., Any] = loop.call_soon_threadsafe

        def counting(*arguments: Any, **options: Any) -> Any:
            nonlocal crossings
            crossings += 1
            return original(*arguments, **options)

        loop.call_soon_threadsafe = counting  # type: ignore[method-assign]
        await asyncio.gather(*(collect(engine, text_request("w " * 50)) for _ in range(32)))
        loop.call_soon_threadsafe = original  # type: ignore[method-assign]
        # One a step, and at most one for each message that came while the engine was between steps.
        assert crossings <= engine.stats.steps + 32

    logging.getLogger("asyncio").setLevel(logging.WARNING)
    run_engine(lambda: EchoBackend(EchoOptions(slots=32)), scenario)


def test_a_burst_of_slow_prompts_does_not_stop_the_answers() -> None:
    """While many requests are prepared, running answers continue."""

    steps: list[int] = []

    class Slow(EchoBackend):
        steps = 0

        def prepare(self, request: GenerationRequest) -> Any:
            if request.owner == "burst":
                time.sleep(0.03)
                steps.append(self.steps)
            return super().prepare(request)

        def step(self) -> list[tuple[JobId, Output]]:
            self.steps += 1
            return super().step()

    async def scenario(engine: ThreadedEngine) -> None:
        stream = events_of(engine, text_request("w", max_tokens=100_000))
        await anext(stream)
        request = text_request("x", max_tokens=1, owner="burst")
        burst = [asyncio.create_task(collect(engine, request)) for _ in range(30)]
        await asyncio.gather(*burst)
        await stream.aclose()
        assert len(steps) == 30
        # What comes at once is prepared for a tenth of a second at most before the next step.
        assert steps[-1] > steps[0] + 5

    run_engine(lambda: Slow(EchoOptions(context=200_000, repeat=10_000, step_seconds=0.001)), scenario)
