"""Engines whose thread hangs or dies: jobs fail, and the rules say what happens to the engine."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from support.engine import collect, text_of, text_request

from jan.engine.backends.echo import EchoBackend, EchoOptions
from jan.engine.base import Backend, GenerationRequest, JobId, ModelInfo, OnProgress, Output, Queued, Started
from jan.engine.iterate import events_of
from jan.engine.rules import EngineRules
from jan.engine.runtime.executor import ThreadedEngine
from jan.engine.runtime.waiting_room import WaitingRoom
from jan.errors import ConfigurationError, JanError, Unavailable

pytestmark = pytest.mark.slow

# Less would be a second stall on a busy machine.
STALL = 1.0
# Where a thread dies, a busy machine must not make it look stalled before.
PATIENT = 30.0


class Fault:
    """Controls the backends of one engine from a test; each restart makes a new backend."""

    def __init__(self) -> None:
        self.hang_in = ""
        self.raise_in: dict[str, BaseException] = {}
        self.hanging = threading.Event()
        self.released = threading.Event()
        self.made: list[FaultyBackend] = []

    def make(self) -> Backend:
        self.made.append(FaultyBackend(self))
        return self.made[-1]

    def at(self, where: str) -> None:
        if where == self.hang_in:
            self.hang_in = ""
            self.hanging.set()
            self.released.wait()
        if where in self.raise_in:
            raise self.raise_in.pop(where)


class FaultyBackend(EchoBackend):
    """An echo backend that hangs or raises where a test says."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(EchoOptions(slots=2, repeat=3))
        self._fault = fault
        self.resets = 0
        self.closed = threading.Event()

    def load(self, progress: OnProgress) -> ModelInfo:
        self._fault.at("load")
        return super().load(progress)

    def prepare(self, request: GenerationRequest) -> Any:
        self._fault.at("prepare")
        return super().prepare(request)

    def begin(self, job_id: JobId, job: Any) -> None:
        self._fault.at("begin")
        super().begin(job_id, job)

    def step(self) -> list[tuple[JobId, Output]]:
        self._fault.at("step")
        return super().step()

    def reset(self) -> None:
        self.resets += 1
        super().reset()

    def close(self) -> None:
        self.closed.set()


@pytest.fixture
def fault() -> Iterator[Fault]:
    made = Fault()
    yield made
    made.released.set()


Scenario = Callable[[ThreadedEngine], Awaitable[None]]


def run(fault: Fault, scenario: Scenario, on_exit: Callable[[], None] = lambda: None, **rules: Any) -> None:
    """Run a scenario on a started engine that counts as stalled after a short time."""
    options = {"stall_seconds": STALL, "backoff_seconds": 0.01, "join_seconds": 0.2} | rules

    async def main() -> None:
        engine = ThreadedEngine("test", fault.make, EngineRules(**options), on_exit)
        await engine.start(lambda part: None)
        try:
            await asyncio.wait_for(scenario(engine), 60)
        finally:
            await engine.close()

    asyncio.run(main())


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


async def failure_of(engine: ThreadedEngine, text: str = "a") -> JanError:
    with pytest.raises(JanError) as raised:
        await collect(engine, text_request(text))
    return raised.value


async def serves(engine: ThreadedEngine) -> bool:
    return text_of(await collect(engine, text_request("b "))) == "b b b "


# --- hanging ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["prepare", "begin", "step"])
def test_a_hanging_thread_fails_its_jobs(fault: Fault, where: str) -> None:
    """Running, waiting and not yet received jobs fail while the thread hangs. New requests are refused at once,
    and the engine reports its trouble."""

    async def scenario(engine: ThreadedEngine) -> None:
        fault.hang_in = where
        errors = await asyncio.gather(*(failure_of(engine) for _ in range(5)))
        assert not fault.released.is_set()
        assert {(type(error), error.code) for error in errors} == {(Unavailable, "engine_stalled")}
        assert all(error.headers["x-should-retry"] == "true" for error in errors)
        assert not engine.healthy
        assert engine.trouble is not None
        assert "no progress" in engine.trouble
        assert (await failure_of(engine)).code == "engine_stalled"
        assert (engine.stats.stalls, engine.stats.failed) == (1, 5)

    run(fault, scenario)


def test_wait_takes_the_thread_back(fault: Fault) -> None:
    """When the step ends after all, the backend is reset, old jobs do not continue, and the same backend serves
    requests."""

    async def scenario(engine: ThreadedEngine) -> None:
        fault.hang_in = "step"
        await asyncio.gather(*(failure_of(engine) for _ in range(5)))
        fault.released.set()
        await until(lambda: engine.healthy)
        assert [backend.resets for backend in fault.made] == [1]
        steps = engine.stats.steps
        assert (engine.stats.running, engine.stats.waiting) == (0, 0)
        assert await serves(engine)
        assert engine.stats.finished == 1
        assert engine.stats.steps - steps <= 4

    run(fault, scenario)


def test_restart_leaves_the_thread_behind(fault: Fault) -> None:
    """The model is loaded again and serves while the old thread still hangs. When that wakes up, it frees its
    model and ends without any effect."""

    async def scenario(engine: ThreadedEngine) -> None:
        fault.hang_in = "step"
        await failure_of(engine)
        await until(lambda: engine.healthy)
        assert len(fault.made) == 2
        assert await serves(engine)
        assert not fault.made[0].closed.is_set()
        before = (engine.stats.steps, engine.stats.completion_tokens, engine.stats.finished, engine.stats.restarts)
        fault.released.set()
        await asyncio.to_thread(fault.made[0].closed.wait, 10)
        assert before == (
            engine.stats.steps,
            engine.stats.completion_tokens,
            engine.stats.finished,
            engine.stats.restarts,
        )
        assert engine.healthy
        assert engine.stats.restarts == 1
        assert await serves(engine)

    run(fault, scenario, on_failure="restart")


def test_an_abandoned_thread_that_fails_harms_nobody(fault: Fault) -> None:
    """It wakes up and dies of an exception; the engine that replaced it continues."""

    async def scenario(engine: ThreadedEngine) -> None:
        fault.hang_in = "step"
        await failure_of(engine)
        await until(lambda: engine.healthy)
        fault.raise_in["step"] = SystemExit("woken")
        stream = events_of(engine, text_request("b "))
        fault.released.set()
        await asyncio.to_thread(fault.made[0].closed.wait, 10)
        await stream.aclose()
        fault.raise_in.clear()
        assert await serves(engine)
        assert len(fault.made) == 2

    run(fault, scenario, on_failure="restart")


def test_a_failed_step_settles_what_its_jobs_were_charged(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Owners were charged for expected answers that never came. Without settling, they would wait longer because
    of the failure."""
    settled: list[str] = []
    monkeypatch.setattr(WaitingRoom, "settle", lambda _room, job: settled.append(job.request.owner))

    async def scenario(engine: ThreadedEngine) -> None:
        fault.raise_in["step"] = RuntimeError("pretended")
        with pytest.raises(JanError):
            await collect(engine, text_request("a", owner="somebody"))
        assert settled == ["somebody"]
        assert await serves(engine)

    run(fault, scenario, stall_seconds=PATIENT)


@pytest.mark.parametrize("problem", ["hang", "die"])
def test_exit_asks_for_the_end_once(fault: Fault, problem: str) -> None:
    """The process is asked once to exit, jobs fail, and nothing is restarted."""
    asked: list[None] = []

    async def scenario(engine: ThreadedEngine) -> None:
        if problem == "hang":
            fault.hang_in = "step"
        else:
            fault.raise_in["step"] = SystemExit()
        await failure_of(engine)
        await until(lambda: asked)
        await asyncio.sleep(2 * STALL)
        assert len(asked) == len(fault.made) == 1
        assert not engine.healthy

    run(fault, scenario, lambda: asked.append(None), on_failure="exit")


def test_closing_does_not_wait_for_a_thread_that_hangs(fault: Fault) -> None:
    """``close`` returns while the thread still hangs, and its jobs fail."""

    async def scenario(engine: ThreadedEngine) -> None:
        fault.hang_in = "step"
        task = asyncio.create_task(failure_of(engine))
        await until(fault.hanging.is_set)
        await engine.close()
        assert (await task).code == "engine_dead"
        assert not fault.released.is_set()

    run(fault, scenario, stall_seconds=1000.0)


def test_closing_while_the_model_is_loaded_anew(fault: Fault) -> None:
    """``close`` does not wait for a load that hangs either."""

    async def scenario(engine: ThreadedEngine) -> None:
        fault.raise_in["step"] = SystemExit()
        fault.hang_in = "load"
        await failure_of(engine)
        await until(fault.hanging.is_set)
        await engine.close()
        assert not engine.healthy

    run(fault, scenario, on_failure="restart")


def test_idleness_is_no_stall(fault: Fault) -> None:
    """An engine without requests stays healthy for any time."""

    async def scenario(engine: ThreadedEngine) -> None:
        assert await serves(engine)
        await asyncio.sleep(2 * STALL)
        assert engine.healthy
        assert engine.stats.stalls == 0

    run(fault, scenario)


def test_a_process_that_stood_still_is_no_stall(fault: Fault) -> None:
    """If the event loop stood still too, the thread gets its full time from then on."""

    async def scenario(engine: ThreadedEngine) -> None:
        fault.hang_in = "step"
        task = asyncio.create_task(collect(engine, text_request("b ")))
        await until(fault.hanging.is_set)
        time.sleep(2 * STALL)  # noqa: ASYNC251 - nothing runs, as when the process is stopped
        await asyncio.sleep(STALL / 2)
        fault.released.set()
        assert text_of(await task) == "b b b "
        assert engine.stats.stalls == 0

    run(fault, scenario)


def test_the_clock_on_the_wall_does_not_matter(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wall clock jumps by hours while an answer runs and others wait: nothing stalls or times out, and
    measured waits stay short."""
    real, offset = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + offset[0])

    async def scenario(engine: ThreadedEngine) -> None:
        for jump in (90_000.0, -90_000.0):
            fault.hang_in = "step"
            fault.hanging.clear()
            fault.released.clear()
            tasks = [asyncio.create_task(collect(engine, text_request("b "))) for _ in range(5)]
            await until(fault.hanging.is_set)
            offset[0] += jump
            fault.released.set()
            assert [text_of(events) for events in await asyncio.gather(*tasks)] == ["b b b "] * 5
        assert (engine.stats.stalls, engine.stats.timed_out, engine.stats.failed) == (0, 0, 0)
        assert 0 <= engine.stats.waits.total < 1000

    run(fault, scenario, stall_seconds=30.0)


# --- dying ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [SystemExit(), KeyboardInterrupt(), GeneratorExit()], ids=repr)
@pytest.mark.parametrize("where", ["prepare", "begin", "step"])
def test_a_killed_thread_fails_its_jobs(fault: Fault, where: str, error: BaseException) -> None:
    """All jobs and new requests fail, the model is freed, and the event loop continues. With `wait`, the engine
    stays dead."""

    async def scenario(engine: ThreadedEngine) -> None:
        fault.raise_in[where] = error
        errors = await asyncio.gather(*(failure_of(engine) for _ in range(5)))
        assert {(type(error), error.code) for error in errors} == {(Unavailable, "engine_dead")}
        assert not engine.healthy
        assert (await failure_of(engine)).code == "engine_dead"
        await asyncio.to_thread(fault.made[0].closed.wait, 10)
        assert (engine.stats.running, engine.stats.waiting) == (0, 0)
        assert len(fault.made) == 1

    run(fault, scenario, stall_seconds=PATIENT)


def test_restart_after_death_frees_first(fault: Fault) -> None:
    """The model is loaded again after the old one is freed; failed loads are tried again."""

    async def scenario(engine: ThreadedEngine) -> None:
        fault.raise_in |= {"step": SystemExit(), "load": ConfigurationError("not now")}
        failed = await failure_of(engine)
        assert failed.code == "engine_dead"
        assert "loaded again" in failed.message
        assert failed.headers["x-should-retry"] == "true"
        await until(lambda: len(fault.made) > 1)
        assert fault.made[0].closed.is_set()
        await until(lambda: engine.healthy)
        assert await serves(engine)
        assert len(fault.made) == 3
        assert engine.stats.restarts == 1

    run(fault, scenario, on_failure="restart", stall_seconds=PATIENT, join_seconds=PATIENT)


def test_it_can_fail_again_and_again(fault: Fault) -> None:
    """After each failure its jobs fail and the engine comes back."""

    async def scenario(engine: ThreadedEngine) -> None:
        for count in range(1, 5):
            fault.raise_in["step"] = SystemExit()
            await failure_of(engine)
            await until(lambda: engine.healthy)
            assert await serves(engine)
            assert engine.stats.restarts == count
        assert engine.stats.finished == 4

    run(fault, scenario, on_failure="restart", stall_seconds=PATIENT)


@pytest.mark.parametrize("error", [SystemExit(), RuntimeError("broken")], ids=repr)
def test_a_load_that_kills_its_thread_is_a_failed_load(fault: Fault, error: BaseException) -> None:
    """It is tried again, and the event loop continues."""

    async def scenario(engine: ThreadedEngine) -> None:
        fault.raise_in |= {"step": SystemExit(), "load": error}
        await failure_of(engine)
        await until(lambda: engine.healthy)
        assert await serves(engine)

    run(fault, scenario, on_failure="restart", stall_seconds=PATIENT)


# --- waiting ----------------------------------------------------------------------------------------


def test_who_waits_is_told_where_it_stands(fault: Fault) -> None:
    """Started comes first, then positions that only get better, then the answer."""

    async def scenario(engine: ThreadedEngine) -> None:
        fault.hang_in = "step"
        # Long, so that whoever waits behind them is told so before it is its turn.
        first = [asyncio.create_task(collect(engine, text_request("w " * 500))) for _ in range(2)]
        await until(fault.hanging.is_set)
        waiting = [asyncio.create_task(collect(engine, text_request("b "))) for _ in range(3)]
        await asyncio.sleep(0)  # they have asked, in this order,
        await asyncio.sleep(0)  # and the thread has their messages
        fault.released.set()
        for number, (started, *events) in enumerate(await asyncio.gather(*waiting), 1):
            assert isinstance(started, Started)
            places = [event.position for event in events if isinstance(event, Queued)]
            assert places == sorted(places, reverse=True)
            assert places[0] <= number
            assert all(isinstance(event, Queued) for event in events[: len(places)])
            assert text_of(events) == "b b b "
        await asyncio.gather(*first)

    run(fault, scenario, stall_seconds=30.0)


class DyingBackend(EchoBackend):
    """A backend whose second step is its death. The first waits until all of its jobs have begun."""

    JOBS = 200

    def __init__(self) -> None:
        super().__init__(EchoOptions(slots=self.JOBS))
        self._stepped = False

    def step(self) -> list[tuple[JobId, Output]]:
        if self._stepped:
            raise SystemExit("pretended")
        if len(self._jobs) < self.JOBS:
            time.sleep(0.001)
            return []
        self._stepped = True
        return super().step()


def test_complete_answers_outlive_the_thread() -> None:
    """However many answers end just before the thread dies, and however late the loop learns of both."""

    async def scenario() -> None:
        engine = ThreadedEngine("test", DyingBackend, EngineRules(stall_seconds=PATIENT))
        await engine.start(lambda _part: None)
        complete = [asyncio.create_task(collect(engine, text_request("a"))) for _ in range(DyingBackend.JOBS - 1)]
        cut = asyncio.create_task(collect(engine, text_request("a b")))
        await asyncio.sleep(0)  # all are submitted now,
        await asyncio.sleep(0)  # and sent at the end of that turn
        next(thread for thread in threading.enumerate() if thread.name == "engine-test").join()
        assert {text_of(events) for events in await asyncio.gather(*complete)} == {"a"}
        with pytest.raises(Unavailable):
            await cut
        await engine.close()

    asyncio.run(scenario())
