"""Engines whose thread hangs or dies: jobs fail, and the rules say what happens to the engine."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.engine import collect, text_of, text_request
from support.faulty_backend import Fault

from jan.engine.backends.echo import EchoBackend, EchoOptions
from jan.engine.base import JobId, Output, Queued, Started
from jan.engine.isolation.process_engine import ProcessEngine
from jan.engine.iterate import events_of
from jan.engine.rules import EngineRules
from jan.engine.runtime.executor import ThreadedEngine
from jan.engine.runtime.hosted_engine import HostedEngine
from jan.engine.runtime.waiting_room import WaitingRoom
from jan.errors import ConfigurationError, JanError, Unavailable

pytestmark = pytest.mark.slow

# Less would be a second stall on a busy machine.
STALL = 1.0
# Where a thread dies, a busy machine must not make it look stalled before.
PATIENT = 30.0


@pytest.fixture(params=["thread", pytest.param("process", marks=pytest.mark.heavy)])
def isolation(request: pytest.FixtureRequest) -> str:
    """Where the backend runs. Starting a process for each test would take long."""
    chosen: str = request.param
    return chosen


@pytest.fixture
def fault(tmp_path: Path) -> Iterator[Fault]:
    made = Fault(tmp_path)
    yield made
    made.release()


Scenario = Callable[[HostedEngine], Awaitable[None]]


def run(
    fault: Fault,
    scenario: Scenario,
    on_exit: Callable[[], None] = lambda: None,
    isolation: str = "thread",
    **rules: Any,
) -> None:
    """Run a scenario on a started engine that counts as stalled after a short time."""
    options = {
        "stall_seconds": STALL,
        "backoff_seconds": 0.01,
        "join_seconds": 0.2,
        "on_failure": "wait",
    } | rules
    made = EngineRules(**options)

    async def main() -> None:
        engine: HostedEngine = ThreadedEngine("test", fault.make, made, on_exit)
        if isolation == "process":
            engine = ProcessEngine("test", fault.plan, None, rules=made, on_exit=on_exit)
        await engine.start(lambda part: None)
        try:
            await asyncio.wait_for(scenario(engine), 60)
        finally:
            await engine.close()

    asyncio.run(main())


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


def is_freed(fault: Fault, isolation: str) -> bool:
    """Tell if a dead thread's model is freed. A process frees it by its end, before anything else is loaded."""
    return isolation == "process" or fault.count("closed") == 1


async def failure_of(engine: ThreadedEngine, text: str = "a") -> JanError:
    with pytest.raises(JanError) as raised:
        await collect(engine, text_request(text))
    return raised.value


async def serves(engine: HostedEngine) -> bool:
    return text_of(await collect(engine, text_request("b "))) == "b b b "


# --- hanging ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["prepare", "begin", "step"])
def test_a_hanging_thread_fails_its_jobs(fault: Fault, isolation: str, where: str) -> None:
    """Running, waiting and not yet received jobs fail while the thread hangs. New requests are refused at once,
    and the engine reports its trouble."""

    async def scenario(engine: HostedEngine) -> None:
        fault.hang_in(where)
        errors = await asyncio.gather(*(failure_of(engine) for _ in range(5)))
        assert not fault.is_released
        assert {(type(error), error.code) for error in errors} == {(Unavailable, "engine_stalled")}
        assert all(error.headers["x-should-retry"] == "true" for error in errors)
        assert not engine.healthy
        assert engine.trouble is not None
        assert "no progress" in engine.trouble
        assert (await failure_of(engine)).code == "engine_stalled"
        assert (engine.stats.stalls, engine.stats.failed) == (1, 5)

    run(fault, scenario, isolation=isolation)


def test_wait_takes_the_thread_back(fault: Fault, isolation: str) -> None:
    """When the step ends after all, the backend is reset, old jobs do not continue, and the same backend serves
    requests."""

    async def scenario(engine: HostedEngine) -> None:
        fault.hang_in("step")
        await asyncio.gather(*(failure_of(engine) for _ in range(5)))
        fault.release()
        await until(lambda: engine.healthy)
        assert fault.count("reset") == 1
        steps = engine.stats.steps
        assert (engine.stats.running, engine.stats.waiting) == (0, 0)
        assert await serves(engine)
        assert engine.stats.finished == 1
        assert engine.stats.steps - steps <= 4

    run(fault, scenario, isolation=isolation)


def test_restart_leaves_the_thread_behind(fault: Fault) -> None:
    """The model is loaded again and serves while the old thread still hangs. When that wakes up, it frees its
    model and ends without any effect."""

    async def scenario(engine: HostedEngine) -> None:
        fault.hang_in("step")
        await failure_of(engine)
        await until(lambda: engine.healthy)
        assert fault.count("made") == 2
        assert await serves(engine)
        assert fault.count("closed") == 0
        before = (engine.stats.steps, engine.stats.completion_tokens, engine.stats.finished, engine.stats.restarts)
        fault.release()
        await until(lambda: fault.count("closed"))
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

    async def scenario(engine: HostedEngine) -> None:
        fault.hang_in("step")
        await failure_of(engine)
        await until(lambda: engine.healthy)
        fault.raise_in("step", SystemExit("woken"))
        stream = events_of(engine, text_request("b "))
        fault.release()
        await until(lambda: fault.count("closed"))
        await stream.aclose()
        fault.forgive()
        assert await serves(engine)
        assert fault.count("made") == 2

    run(fault, scenario, on_failure="restart")


def test_a_failed_step_settles_what_its_jobs_were_charged(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Owners were charged for expected answers that never came. Without settling, they would wait longer because
    of the failure."""
    settled: list[str] = []
    monkeypatch.setattr(WaitingRoom, "settle", lambda _room, job: settled.append(job.request.owner))

    async def scenario(engine: HostedEngine) -> None:
        fault.raise_in("step", RuntimeError("pretended"))
        with pytest.raises(JanError):
            await collect(engine, text_request("a", owner="somebody"))
        assert settled == ["somebody"]
        assert await serves(engine)

    run(fault, scenario, stall_seconds=PATIENT)


@pytest.mark.parametrize("problem", ["hang", "die"])
def test_exit_asks_for_the_end_once(fault: Fault, isolation: str, problem: str) -> None:
    """The process is asked once to exit, jobs fail, and nothing is restarted."""
    asked: list[None] = []

    async def scenario(engine: HostedEngine) -> None:
        if problem == "hang":
            fault.hang_in("step")
        else:
            fault.raise_in("step", SystemExit())
        await failure_of(engine)
        await until(lambda: asked)
        await asyncio.sleep(2 * STALL)
        assert len(asked) == fault.count("made") == 1
        assert not engine.healthy

    run(fault, scenario, lambda: asked.append(None), on_failure="exit", isolation=isolation)


def test_closing_does_not_wait_for_a_thread_that_hangs(fault: Fault, isolation: str) -> None:
    """``close`` returns while the thread still hangs, and its jobs fail."""

    async def scenario(engine: HostedEngine) -> None:
        fault.hang_in("step")
        task = asyncio.create_task(failure_of(engine))
        await until(lambda: fault.hangs)
        await engine.close()
        assert (await task).code == "engine_dead"
        assert not fault.is_released

    run(fault, scenario, stall_seconds=1000.0, isolation=isolation)


def test_closing_while_the_model_is_loaded_anew(fault: Fault, isolation: str) -> None:
    """``close`` does not wait for a load that hangs either."""

    async def scenario(engine: HostedEngine) -> None:
        fault.raise_in("step", SystemExit())
        fault.hang_in("load")
        await failure_of(engine)
        await until(lambda: fault.hangs)
        await engine.close()
        assert not engine.healthy

    run(fault, scenario, on_failure="restart", isolation=isolation)


def test_idleness_is_no_stall(fault: Fault, isolation: str) -> None:
    """An engine without requests stays healthy for any time."""

    async def scenario(engine: HostedEngine) -> None:
        assert await serves(engine)
        await asyncio.sleep(2 * STALL)
        assert engine.healthy
        assert engine.stats.stalls == 0

    run(fault, scenario, isolation=isolation)


def test_a_process_that_stood_still_is_no_stall(fault: Fault, isolation: str) -> None:
    """If the event loop stood still too, the thread gets its full time from then on."""

    async def scenario(engine: HostedEngine) -> None:
        fault.hang_in("step")
        task = asyncio.create_task(collect(engine, text_request("b ")))
        await until(lambda: fault.hangs)
        time.sleep(2 * STALL)  # noqa: ASYNC251 - nothing runs, as when the process is stopped
        await asyncio.sleep(STALL / 2)
        fault.release()
        assert text_of(await task) == "b b b "
        assert engine.stats.stalls == 0

    run(fault, scenario, isolation=isolation)


def test_the_clock_on_the_wall_does_not_matter(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wall clock jumps by hours while an answer runs and others wait: nothing stalls or times out, and
    measured waits stay short."""
    real, offset = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + offset[0])

    async def scenario(engine: HostedEngine) -> None:
        for jump in (90_000.0, -90_000.0):
            fault.hang_in("step")
            tasks = [asyncio.create_task(collect(engine, text_request("b "))) for _ in range(5)]
            await until(lambda: fault.hangs)
            offset[0] += jump
            fault.release()
            assert [text_of(events) for events in await asyncio.gather(*tasks)] == ["b b b "] * 5
        assert (engine.stats.stalls, engine.stats.timed_out, engine.stats.failed) == (0, 0, 0)
        assert 0 <= engine.stats.waits.total < 1000

    run(fault, scenario, stall_seconds=30.0)


# --- dying ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [SystemExit(), KeyboardInterrupt(), GeneratorExit()], ids=repr)
@pytest.mark.parametrize("where", ["prepare", "begin", "step"])
def test_a_killed_thread_fails_its_jobs(fault: Fault, isolation: str, where: str, error: BaseException) -> None:
    """All jobs and new requests fail, the model is freed, and the event loop continues. With `wait`, the engine
    stays dead."""

    async def scenario(engine: HostedEngine) -> None:
        fault.raise_in(where, error)
        errors = await asyncio.gather(*(failure_of(engine) for _ in range(5)))
        assert {(type(error), error.code) for error in errors} == {(Unavailable, "engine_dead")}
        assert not engine.healthy
        assert (await failure_of(engine)).code == "engine_dead"
        await until(lambda: is_freed(fault, isolation))
        assert (engine.stats.running, engine.stats.waiting) == (0, 0)
        assert fault.count("made") == 1

    run(fault, scenario, stall_seconds=PATIENT, isolation=isolation)


def test_restart_after_death_frees_first(fault: Fault, isolation: str) -> None:
    """The model is loaded again after the old one is freed; failed loads are tried again."""

    async def scenario(engine: HostedEngine) -> None:
        fault.raise_in("step", SystemExit())
        fault.raise_in("load", ConfigurationError("not now"))
        failed = await failure_of(engine)
        assert failed.code == "engine_dead"
        assert "loaded again" in failed.message
        assert failed.headers["x-should-retry"] == "true"
        await until(lambda: fault.count("made") > 1)
        assert is_freed(fault, isolation)
        await until(lambda: engine.healthy)
        assert await serves(engine)
        assert fault.count("made") == 3
        assert engine.stats.restarts == 1

    run(fault, scenario, on_failure="restart", stall_seconds=PATIENT, join_seconds=PATIENT, isolation=isolation)


def test_it_can_fail_again_and_again(fault: Fault, isolation: str) -> None:
    """After each failure its jobs fail and the engine comes back."""

    async def scenario(engine: HostedEngine) -> None:
        for count in range(1, 5):
            fault.raise_in("step", SystemExit())
            await failure_of(engine)
            await until(lambda: engine.healthy)
            assert await serves(engine)
            assert engine.stats.restarts == count
        assert engine.stats.finished == 4

    run(fault, scenario, on_failure="restart", stall_seconds=PATIENT, isolation=isolation)


@pytest.mark.parametrize("error", [SystemExit(), RuntimeError("broken")], ids=repr)
def test_a_load_that_kills_its_thread_is_a_failed_load(fault: Fault, isolation: str, error: BaseException) -> None:
    """It is tried again, and the event loop continues."""

    async def scenario(engine: HostedEngine) -> None:
        fault.raise_in("step", SystemExit())
        fault.raise_in("load", error)
        await failure_of(engine)
        await until(lambda: engine.healthy)
        assert await serves(engine)

    run(fault, scenario, on_failure="restart", stall_seconds=PATIENT, isolation=isolation)


# --- waiting ----------------------------------------------------------------------------------------


def test_who_waits_is_told_where_it_stands(fault: Fault, isolation: str) -> None:
    """Started comes first, then positions that only get better, then the answer."""

    async def scenario(engine: HostedEngine) -> None:
        fault.hang_in("step")
        # Long, so that whoever waits behind them is told so before it is its turn.
        first = [asyncio.create_task(collect(engine, text_request("w " * 500))) for _ in range(2)]
        await until(lambda: fault.hangs)
        waiting = [asyncio.create_task(collect(engine, text_request("b "))) for _ in range(3)]
        await asyncio.sleep(0)  # they have asked, in this order,
        await asyncio.sleep(0)  # and the thread has their messages
        fault.release()
        for number, (started, *events) in enumerate(await asyncio.gather(*waiting), 1):
            assert isinstance(started, Started)
            places = [event.position for event in events if isinstance(event, Queued)]
            assert places == sorted(places, reverse=True)
            assert places[0] <= number
            assert all(isinstance(event, Queued) for event in events[: len(places)])
            assert text_of(events) == "b b b "
        await asyncio.gather(*first)

    run(fault, scenario, stall_seconds=30.0, isolation=isolation)


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
