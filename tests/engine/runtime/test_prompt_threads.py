"""Prompts are tokenised on threads of their own: once for all sequences, and while answers go on."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from support.engine import collect, run_engine, text_of, text_request

from jan.engine.backends.echo import EchoBackend, EchoOptions
from jan.engine.base import Delta, Event, GenerationRequest, JobId, Output, TextPrompt
from jan.engine.iterate import events_of
from jan.engine.runtime.executor import ThreadedEngine
from jan.errors import InvalidRequest, Unavailable

LONG = "long " * 10_000


class Gate:
    """Holds a backend wherever a test says, until it is opened."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def wait(self) -> None:
        self.reached.set()
        assert self.opened.wait(60)


class TokenizingEcho(EchoBackend):
    """An echo backend that tokenises on other threads. ``held`` prompts and steps wait at the gate."""

    def __init__(self, gate: Gate, *held: str, slots: int = 4) -> None:
        super().__init__(EchoOptions(slots=slots, context=20_000, repeat=100, step_seconds=0.001))
        self._gate = gate
        self.held = held
        #: Beginnings of the prompts that were tokenised, in order.
        self.tokenized: list[str] = []
        self.tokenizing = 0
        self.closed_while_tokenizing: bool | None = None

    def tokenize(self, request: GenerationRequest) -> Any:
        assert isinstance(request.prompt, TextPrompt)
        word = request.prompt.text.split()[0]
        self.tokenizing += 1
        try:
            if word in self.held:
                self._gate.wait()
            self.tokenized.append(word)
            if word == "refused":
                raise InvalidRequest("No.", code="context_length_exceeded")
            if word == "broken":
                raise ValueError("secret detail")
            return super().prepare(request)
        finally:
            self.tokenizing -= 1

    def prepare(self, request: GenerationRequest, prompt: Any = None) -> Any:
        assert prompt is not None
        return super().prepare(request)

    def step(self) -> list[tuple[JobId, Output]]:
        if "step" in self.held:
            self._gate.wait()
        return super().step()

    def close(self) -> None:
        self.closed_while_tokenizing = self.tokenizing > 0


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.opened.set()


def run(backend: EchoBackend, scenario: Callable[[Any], Awaitable[Any]], **rules: Any) -> None:
    run_engine(lambda: backend, scenario, **rules)


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def asked(text: str, **options: Any) -> GenerationRequest:
    return text_request(text, **{"max_tokens": 3} | options)


def test_answers_go_on_while_a_prompt_is_tokenised(gate: Gate) -> None:
    """A long prompt holds back neither a running answer nor a short prompt that comes after it."""
    backend = TokenizingEcho(gate, "long")

    async def scenario(engine: ThreadedEngine) -> None:
        running = events_of(engine, asked("words", max_tokens=50_000))
        await anext(running)
        waiting = asyncio.create_task(collect(engine, asked(LONG)))
        await asyncio.to_thread(gate.reached.wait)
        steps = engine.stats.steps
        assert text_of(await collect(engine, asked("short "))) == "short short short "
        await until(lambda: engine.stats.steps > steps + 10)
        assert not waiting.done()
        gate.opened.set()
        assert text_of(await waiting) == "long long long "
        await running.aclose()

    run(backend, scenario)


def test_a_prompt_is_tokenised_once_for_all_sequences(gate: Gate) -> None:
    """Sequences that have the same prompt share its tokens, be they prepared before or not; others do not."""
    backend = TokenizingEcho(gate)

    async def scenario(engine: ThreadedEngine) -> None:
        request = asked("shared ")
        ends = await asyncio.gather(*(collect(engine, request) for _ in range(16)))
        assert [text_of(events) for events in ends] == ["shared shared shared "] * 16
        assert backend.tokenized == ["shared"]
        again = asked("again ")
        prepared = [await engine.prepare(again) for _ in range(3)]
        ends = await asyncio.gather(*(collect(engine, one) for one in prepared))  # type: ignore[arg-type]
        assert [text_of(events) for events in ends] == ["again again again "] * 3
        await asyncio.gather(*(collect(engine, asked("own ")) for _ in range(2)))
        assert backend.tokenized == ["shared", "again", "own", "own"]

    run(backend, scenario)


def test_a_refusal_does_not_wait_for_a_step(gate: Gate) -> None:
    """A prompt that can't be served is refused while the model computes, and counted as failed."""
    backend = TokenizingEcho(gate, "step")

    async def scenario(engine: ThreadedEngine) -> None:
        running = asyncio.create_task(collect(engine, asked("words")))
        await asyncio.to_thread(gate.reached.wait)
        with pytest.raises(InvalidRequest, match="No") as refused:
            await engine.submit(asked("refused"), lambda _events, _at: None)
        assert refused.value.code == "context_length_exceeded"
        with pytest.raises(InvalidRequest):
            await engine.prepare(asked("refused"))
        with pytest.raises(Exception, match=r"^Model 'test' failed: ValueError.$"):
            await engine.prepare(asked("broken"))
        assert engine.stats.failed == 3
        assert not running.done()
        gate.opened.set()
        await running

    run(backend, scenario)


def test_nobody_waits_for_it_any_more(gate: Gate) -> None:
    """A prompt is not tokenised if all who asked have left before its turn came."""
    backend = TokenizingEcho(gate, "first")

    async def scenario(engine: ThreadedEngine) -> None:
        first = asyncio.create_task(collect(engine, asked("first")))
        await asyncio.to_thread(gate.reached.wait)
        request = asked("left")
        leaving = [asyncio.create_task(collect(engine, request)) for _ in range(2)]
        await asyncio.sleep(0)
        leaving[0].cancel()
        staying = asyncio.create_task(collect(engine, asked("stays")))
        await asyncio.sleep(0)
        leaving[1].cancel()
        await asyncio.wait(leaving)
        gate.opened.set()
        await first
        await staying
        assert backend.tokenized == ["first", "stays"]

    run(backend, scenario)


def test_owners_take_turns(gate: Gate) -> None:
    """The long prompts of one owner do not hold back those of another."""
    backend = TokenizingEcho(gate, "long")

    async def scenario(engine: ThreadedEngine) -> None:
        tasks = [asyncio.create_task(collect(engine, asked(LONG, owner="a")))]
        await asyncio.to_thread(gate.reached.wait)
        backend.held = ()
        for number in range(4):
            tasks.append(asyncio.create_task(collect(engine, asked(f"a{number} {LONG}", owner="a"))))
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(collect(engine, asked(f"b {LONG}", owner="b"))))
        await asyncio.sleep(0)
        gate.opened.set()
        await asyncio.gather(*tasks)
        assert backend.tokenized.index("b") <= 2

    run(backend, scenario)


@pytest.mark.slow
def test_a_prompt_that_never_ends_is_a_stall(gate: Gate) -> None:
    """Its requests fail and the engine says so; it serves again when the prompt ends after all."""
    backend = TokenizingEcho(gate, "endless")

    async def scenario(engine: ThreadedEngine) -> None:
        tasks = [asyncio.create_task(collect(engine, asked(text))) for text in ("endless", "behind")]
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(ended, Unavailable)
            assert ended.code == "engine_stalled"
        assert not engine.healthy
        assert (engine.stats.stalls, engine.stats.failed) == (1, 2)
        gate.opened.set()
        await until(lambda: engine.healthy)
        assert text_of(await collect(engine, asked("b "))) == "b b b "

    run(backend, scenario, stall_seconds=1.0)


def test_a_backend_is_not_closed_while_it_tokenises(gate: Gate) -> None:
    """Closing waits for the call, whose request fails at once."""
    backend = TokenizingEcho(gate, "held")

    async def scenario(engine: ThreadedEngine) -> None:
        waiting = asyncio.create_task(collect(engine, asked("held")))
        await asyncio.to_thread(gate.reached.wait)
        closing = asyncio.create_task(engine.close())
        with pytest.raises(Unavailable):
            await waiting
        assert backend.closed_while_tokenizing is None
        gate.opened.set()
        await closing
        assert backend.closed_while_tokenizing is False

    run(backend, scenario)


class SlowEcho(EchoBackend):
    """A backend of the simple kind, which takes its time to prepare."""

    def __init__(self, *, refuses: bool = False) -> None:
        super().__init__(EchoOptions(slots=64, context=200_000, repeat=10_000, step_seconds=0.001))
        self.refuses = refuses
        self.prepared = 0

    def prepare(self, request: GenerationRequest) -> Any:
        if request.owner == "burst":
            time.sleep(0.15)
            self.prepared += 1
            if self.refuses:
                raise InvalidRequest("No.")
        return super().prepare(request)


def test_cancels_are_heard_before_requests() -> None:
    """A running answer is cancelled before the requests that came before the cancel are prepared."""
    backend = SlowEcho()

    async def scenario(engine: ThreadedEngine) -> None:
        received: list[Event] = []
        job = await engine.submit(asked("w", max_tokens=50_000), lambda events, _at: received.extend(events))
        await until(lambda: any(isinstance(event, Delta) for event in received))
        burst = [asyncio.create_task(collect(engine, asked("x", owner="burst"))) for _ in range(10)]
        await asyncio.sleep(0)
        engine.cancel(job)
        await until(lambda: engine.stats.cancelled)
        assert backend.prepared < 5
        await asyncio.gather(*burst)

    run(backend, scenario)


@pytest.mark.slow
def test_slow_refusals_are_no_progress() -> None:
    """A model that only prepares requests, one slowly after the other, is seen to stall."""
    backend = SlowEcho(refuses=True)

    async def scenario(engine: ThreadedEngine) -> None:
        burst = [asyncio.create_task(collect(engine, asked("x", owner="burst"))) for _ in range(20)]
        ends = await asyncio.gather(*burst, return_exceptions=True)
        assert {end.code for end in ends if isinstance(end, Unavailable)} == {"engine_stalled"}
        assert engine.stats.stalls >= 1

    run(backend, scenario, stall_seconds=0.4)
