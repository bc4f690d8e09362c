"""Models in processes of their own: how they end, who may connect, and what stays behind, which is nothing."""

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs
from support.engine import collect, text_of, text_request
from support.patience import until

from jan.children.child_environment import library_environment
from jan.children.framing import HEADER, framed
from jan.engine.base import (
    ChatPrompt,
    Engine,
    Event,
    Failed,
    Finished,
    GenerationRequest,
    ModelInfo,
    OnProgress,
    PreparedRequest,
    TextPrompt,
    Tokenization,
    TokenPrompt,
)
from jan.engine.isolation.attached_engine import AttachedEngine
from jan.engine.isolation.engine_link import EngineLink
from jan.engine.isolation.engine_listener import EngineListener
from jan.engine.isolation.engine_messages import (
    COUNTED,
    BackendPlan,
    EngineAddress,
    EngineState,
    ForgetPrompts,
    Introduction,
    NewJob,
    ToProcess,
    Welcome,
)
from jan.engine.isolation.engine_process import EngineProcess
from jan.engine.isolation.process_engine import ProcessEngine
from jan.engine.iterate import events_of
from jan.engine.rules import EngineRules, rules_of
from jan.engine.runtime.host import HostEvents
from jan.engine.runtime.mailbox import Batch
from jan.errors import ConfigurationError, InvalidRequest, JanError
from jan.loops.owned_engines import OwnedEngines
from jan.schema.messages import UserMessage
from jan.settings import ModelSettings, Settings
from jan.settings.names import DottedName
from jan.testing import served

pytestmark = pytest.mark.slow

# A busy machine must not make a process look stalled that only waits for its turn.
PATIENT = 60.0


def echo(**options: Any) -> BackendPlan:
    return BackendPlan(kind="echo", file=None, options={"slots": 4, "repeat": 3, **options})


def run(
    folder: Path | None,
    scenario: Callable[[ProcessEngine], Awaitable[None]],
    plan: BackendPlan | None = None,
    **rules: Any,
) -> None:
    """Run a scenario on a started engine, which is there again soon after a failure."""
    made = EngineRules(**{"on_failure": "restart", "backoff_seconds": 0.01, "stall_seconds": PATIENT, **rules})

    async def main() -> None:
        engine = ProcessEngine("test", plan or echo(step_seconds=0.005), folder, rules=made)
        await engine.start(lambda _part: None)
        try:
            await asyncio.wait_for(scenario(engine), 120)
        finally:
            await engine.close()

    asyncio.run(main())


def pid_of(engine: ProcessEngine) -> int:
    assert engine.pid is not None
    return engine.pid


def is_there(pid: int) -> bool:
    """Tell if a process is in the system's table, as a zombie too."""
    return Path(f"/proc/{pid}").exists()


async def becomes(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


async def begun(engine: ProcessEngine) -> "list[asyncio.Task[Any]]":
    """Begin answers without an end: four that run, and two that wait."""
    tasks = [asyncio.create_task(collect(engine, text_request("w " * 1000))) for _ in range(6)]
    await becomes(lambda: (engine.stats.running, engine.stats.waiting) == (4, 2))
    return tasks


async def codes_of(tasks: "list[asyncio.Task[Any]]") -> set[str]:
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    return {end.code if isinstance(end, JanError) else repr(end) for end in ends}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGILL, signal.SIGSEGV], ids=lambda one: one.name)
def test_a_process_that_dies_fails_its_jobs_and_is_there_again(tmp_path: Path, number: signal.Signals) -> None:
    """Jobs fail at once with the code of a dead engine; the log names the signal; a new process serves at the same
    address, and nothing of the old one is left."""

    async def scenario(engine: ProcessEngine) -> None:
        tasks, pid = await begun(engine), pid_of(engine)
        before = engine.stats
        with capture_logs() as logs:
            os.kill(pid, number)
            assert await codes_of(tasks) == {"engine_dead"}
            await becomes(lambda: engine.healthy)
        ended = next(line for line in logs if line["event"] == "engine process ended")
        assert (ended["end"], ended["pid"], ended["killed_by_server"]) == (f"by {number.name}", pid, False)
        assert not is_there(pid)
        assert text_of(await collect(engine, text_request("b "))) == "b b b "
        assert (engine.stats.restarts, engine.stats.failed, engine.stats.running) == (1, 6, 0)
        assert engine.stats.prompt_tokens == before.prompt_tokens + 1
        assert len(os.listdir(tmp_path)) == 1

    run(tmp_path, scenario)
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_hangs_is_ended(tmp_path: Path) -> None:
    """One that is stopped counts as stalled, is killed, and another serves. Without requests it is let alone."""

    async def scenario(engine: ProcessEngine) -> None:
        os.kill(pid_of(engine), signal.SIGSTOP)
        await asyncio.sleep(2.0)
        assert engine.healthy
        pid = pid_of(engine)
        assert await codes_of([asyncio.create_task(collect(engine, text_request("a")))]) == {"engine_stalled"}
        await becomes(lambda: engine.healthy)
        assert not is_there(pid)
        tasks = await begun(engine)
        os.kill(pid_of(engine), signal.SIGSTOP)
        assert await codes_of(tasks) == {"engine_stalled"}
        await becomes(lambda: engine.healthy)
        assert text_of(await collect(engine, text_request("b "))) == "b b b "
        assert (engine.stats.stalls, engine.stats.restarts) == (2, 2)

    run(tmp_path, scenario, stall_seconds=1.0)


def test_a_process_that_hangs_before_it_answers_is_a_failed_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that has loaded its model and does nothing from then on is ended after ``stall_seconds``."""
    load, pids = EngineProcess.load, list[int]()

    async def stopped(process: EngineProcess, progress: OnProgress) -> None:
        await load(process, progress)
        pids.append(process.pid)
        os.kill(process.pid, signal.SIGSTOP)

    monkeypatch.setattr(EngineProcess, "load", stopped)

    async def main() -> None:
        engine = ProcessEngine("test", echo(), tmp_path, rules=EngineRules(stall_seconds=0.5))
        with pytest.raises(ConfigurationError, match="it does not answer"):
            await asyncio.wait_for(engine.start(lambda _part: None), 60)
        await becomes(lambda: not is_there(pids[0]))

    asyncio.run(main())


def test_a_process_that_hangs_is_ended_whichever_loop_has_asked_it(tmp_path: Path) -> None:
    """The supervisor asks it for nothing, and only the supervisor can end it."""
    model = ModelSettings(
        id="test", engine=DottedName("echo"), isolation="process", load="eager", stall_seconds=1.0
    )

    async def scenario() -> None:
        owned = OwnedEngines(Settings(data=str(tmp_path), models=(model,)))
        await owned.start(lambda _name, _part: None)

        async def locate() -> EngineAddress:
            return await owned.address("test", lambda _name, _part: None)

        loop = AttachedEngine("test", locate, rules_of(model))
        await loop.start(lambda _part: None)
        try:
            (before,) = owned.uses()
            os.kill(before.pid, signal.SIGSTOP)
            assert await codes_of([asyncio.create_task(collect(loop, text_request("a")))]) == {"engine_stalled"}
            await becomes(lambda: not is_there(before.pid) and loop.healthy)
            assert text_of(await collect(loop, text_request("b "))) == "b "
        finally:
            await loop.close()
            await owned.close()

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_a_process_that_hears_is_not_taken_for_stalled(tmp_path: Path) -> None:
    """Under load some request is always on its way; what counts is that earlier ones are heard."""

    async def main() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        events = HostEvents(lambda _batches: None, lambda: None, lambda _host: None)
        link = EngineLink(ours.detach(), b"", events, lambda: None)
        with theirs:
            link.drop_job(1)
            since = link.busy_since()
            for heard in range(1, 4):
                link.drop_job(heard + 1)
                counts = [0] * len(COUNTED)
                state = EngineState(heard, None, 0, counts, list(link.stats.waits.counts), 0.0)
                theirs.sendall(framed(msgspec.msgpack.encode(state)))
                await becomes(lambda since=since: link.busy_since() != since)  # type: ignore[misc]
                since = link.busy_since()
            theirs.sendall(framed(msgspec.msgpack.encode(msgspec.structs.replace(state, heard=4))))
            await becomes(lambda: link.busy_since() is None)
            link.close()

    asyncio.run(asyncio.wait_for(main(), 30))


def test_a_load_that_ends_the_process_is_a_failed_load(tmp_path: Path) -> None:
    """``start`` raises with the signal, and the log has the last words. Nothing stays behind."""
    talkative = BackendPlan(kind="support.isolated_backends.TalkativeBackend", file=None, options={})

    async def main() -> None:
        engine = ProcessEngine("test", talkative, tmp_path)
        with capture_logs() as logs, pytest.raises(ConfigurationError, match=r"SIGABRT \(to standard output\)\."):
            await engine.start(lambda _part: None)
        said = next(line["last_words"] for line in logs if line["event"] == "engine process ended")
        assert said == ["one line", "cuda: out of everything", "to standard output"]
        assert engine.pid is None
        assert not engine.healthy
        await engine.close()

    asyncio.run(main())
    assert list(tmp_path.iterdir()) == []


def test_a_load_that_is_refused_says_why(tmp_path: Path) -> None:
    """The process's ConfigurationError is raised as one."""

    async def main() -> None:
        engine = ProcessEngine("test", echo(slots=-1), tmp_path)
        with pytest.raises(ConfigurationError, match=r"options\.slots"):
            await engine.start(lambda _part: None)

    asyncio.run(main())


def test_a_server_that_does_not_start_leaves_nothing_behind(tmp_path: Path) -> None:
    """One model is loaded and the next one ends its process: the reason is told, and no process is left."""
    models = (
        ModelSettings(id="good", engine=DottedName("echo"), isolation="process"),
        ModelSettings(
            id="bad", engine=DottedName("support.isolated_backends.TalkativeBackend"), isolation="process"
        ),
    )
    threads = set(threading.enumerate())
    with (
        pytest.raises(ConfigurationError, match="SIGABRT"),
        served("", models=models, data=tmp_path),
    ):
        pass
    assert list((tmp_path / "run").iterdir()) == []
    assert until(lambda: set(threading.enumerate()) <= threads)


# --- who may connect, and what stays ----------------------------------------------------------------


def test_only_this_user_reaches_the_socket(tmp_path: Path) -> None:
    """The folder and the socket are the user's alone. A path that is too long for a socket is replaced."""
    folder = tmp_path / "run"
    listener = EngineListener(folder)
    path = Path(listener.address.path)
    assert path.parent == folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert listener.address.nonce.hex() not in repr(listener.address)
    listener.close()
    assert list(folder.iterdir()) == []
    far = EngineListener(tmp_path / ("x" * 120))
    elsewhere = Path(far.address.path).parent
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o700
    far.close()
    assert not elsewhere.exists()


def test_sockets_of_killed_servers_are_removed(tmp_path: Path) -> None:
    """A socket that nobody listens on goes with the next start; one in use stays."""
    left = tmp_path / "engine-dead.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(left))
    os.utime(left, (0, 0))
    used = EngineListener(tmp_path)
    os.utime(used.address.path, (0, 0))
    assert not left.exists()
    other = EngineListener(tmp_path)
    assert Path(used.address.path).exists()
    used.close()
    other.close()


def test_a_stranger_is_told_nothing(tmp_path: Path) -> None:
    """Without the secret, with a wrong one or with a long message a connection is closed. Others are served."""

    async def scenario(engine: ProcessEngine) -> None:
        path = os.path.join(tmp_path, os.listdir(tmp_path)[0])
        wrong = HostEvents(lambda _batches: None, lambda: None, lambda _host: None)
        for nonce in (b"", b"x" * 32, b"x" * 100_000):
            ended = asyncio.Event()
            link = await EngineLink.open(EngineAddress(path, nonce), wrong, ended.set)
            await ended.wait()
            with pytest.raises(ConnectionError):
                await link.info()
        assert text_of(await collect(engine, text_request("b "))) == "b b b "

    run(tmp_path, scenario)


PARENT = """
import asyncio, sys
from pathlib import Path
from jan.engine.isolation.engine_messages import BackendPlan
from jan.engine.isolation.process_engine import ProcessEngine

async def main():
    engine = ProcessEngine("m", BackendPlan(kind="echo", file=None, options={{}}), Path({folder!r}))
    await engine.start(lambda part: None)
    print(engine.pid, flush=True)
    await asyncio.sleep(1000)

asyncio.run(main())
"""


@pytest.mark.parametrize("state", ["idle", "stopped"])
def test_a_process_does_not_outlive_its_parent(tmp_path: Path, state: str) -> None:
    """The parent is killed, and so is the process, even one that does nothing any more."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(folder=str(tmp_path))], stdout=subprocess.PIPE, text=True
    )
    try:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        if state == "stopped":
            os.kill(pid, signal.SIGSTOP)
    finally:
        parent.kill()
        parent.communicate()
    assert until(lambda: not is_there(pid) or "Z" in Path(f"/proc/{pid}/stat").read_text())


def test_the_process_imports_nothing_of_the_web() -> None:
    """Neither the HTTP server nor a store, nor any model library, is imported before the plan says which."""
    code = "import sys, jan.engine.isolation.engine_child; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(done.stdout.split())
    for name in ("tornado", "prometheus_client", "jan.http", "jan.storage", "jan.handler", "handlers", "sqlite3"):
        assert name not in loaded
    for name in ("cyllama", "torch", "numpy", "llguidance"):
        assert name not in loaded


def test_the_process_gets_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that set up libraries are passed on; those of the server and those that name secrets are not."""
    passed = {"CUDA_VISIBLE_DEVICES": "1", "OMP_NUM_THREADS": "2", "TOKENIZERS_PARALLELISM": "false"}
    kept = {
        "JAN__STORAGE__URL": "mongodb://here",
        "HF_TOKEN": "x",
        "JAN_API_KEY": "x",
        "SOME_APIKEY": "x",
        "MY_PASSWORD": "x",
        "DATABASE_URL": "postgres://me:secret@here/db",
    }
    for name, value in {**passed, **kept}.items():
        monkeypatch.setenv(name, value)
    environment = library_environment()
    assert environment.items() >= passed.items()
    assert not environment.keys() & kept.keys()


# --- requests ---------------------------------------------------------------------------------------


def test_a_request_goes_through_whole(tmp_path: Path) -> None:
    """Numbers of any size, text of all kinds and long prompts come as they were sent."""
    text = "é\x00\U0001f600 \ud7ff " + "long " * 20_000

    async def scenario(engine: ProcessEngine) -> None:
        huge = {"type": "function", "function": {"name": "f", "parameters": {"maximum": 10**30}}}
        prompt = ChatPrompt(messages=(UserMessage(content=text),), sent_tools=(huge,))
        events = await collect(engine, GenerationRequest(prompt=prompt))
        assert text_of(events) == text * 3

    run(tmp_path, scenario, echo(context=10_000_000))


def test_tokens_are_shown(tmp_path: Path) -> None:
    """What shows tokens is asked of the process, which refuses what it would refuse on a thread."""

    async def scenario(engine: ProcessEngine) -> None:
        shown = await engine.read_tokens(GenerationRequest(prompt=Tokenization(TextPrompt("a b c"))))
        assert shown.text == "a b c"
        assert [piece.strip() for piece in shown.spelled] == ["a", "b", "c"]
        with pytest.raises(InvalidRequest):
            await engine.read_tokens(GenerationRequest(prompt=Tokenization(TokenPrompt((1, 2)))))

    run(tmp_path, scenario)


def test_choices_share_their_prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prompt object goes to the process once for all requests that have it, and is forgotten behind the last."""
    sent: list[ToProcess] = []
    post = EngineLink._post
    monkeypatch.setattr(EngineLink, "_post", lambda link, message: (sent.append(message), post(link, message)))

    async def scenario(engine: ProcessEngine) -> None:
        prompt = TextPrompt("b ")
        prepared = [await engine.prepare(GenerationRequest(prompt=prompt)) for _ in range(4)]
        while prepared:
            assert text_of([event async for event in events_of(engine, prepared.pop())]) == "b b b "
        jobs = [message for message in sent if isinstance(message, NewJob)]
        assert [bool(job.content) for job in jobs] == [True, False, False, False]
        await becomes(lambda: ForgetPrompts([jobs[0].prompt]) in sent)
        assert text_of(await collect(engine, GenerationRequest(prompt=prompt))) == "b b b "

    run(tmp_path, scenario)


def test_a_prompt_stays_whatever_becomes_of_its_first_job(tmp_path: Path) -> None:
    """The request that brought the prompt is dropped at once; another one that shares it is answered."""

    async def scenario(engine: ProcessEngine) -> None:
        ends: list[Event | PreparedRequest] = []

        def arrive(batches: list[Batch]) -> None:
            ends.extend(event for _, events in batches for event in events if isinstance(event, Finished | Failed))

        address = engine.address
        assert address is not None
        events = HostEvents(arrive, lambda: None, lambda _host: None)
        link = await EngineLink.open(address, events, lambda: None)
        await link.info()
        shared = link.prompt_of(TextPrompt("b "))
        link.new_job(1, text_request(""), shared, queues=True)
        link.drop_job(1)
        link.new_job(2, text_request(""), shared, queues=True)
        await becomes(lambda: ends)
        assert isinstance(ends[0], Finished)
        link.close()

    run(tmp_path, scenario)


def test_each_loop_submits_and_drops_what_it_has_prepared(tmp_path: Path) -> None:
    """The jobs of several loops have their own numbers: what one prepares, submits or cancels is its own."""

    async def scenario(engine: ProcessEngine) -> None:
        address = engine.address
        assert address is not None

        async def locate() -> EngineAddress:
            return address

        loops: list[Engine] = [engine]
        for _ in range(2):
            loops.append(AttachedEngine("test", locate, EngineRules(stall_seconds=PATIENT)))
            await loops[-1].start(lambda _part: None)
        try:
            running = [asyncio.create_task(collect(one, text_request("r " * 20))) for one in loops]
            for number in range(6):
                for at, one in enumerate(loops):
                    dropped = await one.prepare(text_request("x "))
                    kept = await one.prepare(text_request(f"loop{at} number{number} "))
                    one.cancel(dropped.job_id)
                    text = text_of([event async for event in events_of(one, kept)])
                    assert text == f"loop{at} number{number} " * 3
            assert [text_of(await answer) for answer in running] == ["r " * 60] * 3
        finally:
            for attached in loops[1:]:
                await attached.close()

    run(tmp_path, scenario)


def test_a_process_that_dies_as_soon_as_it_answers_is_replaced_once(tmp_path: Path) -> None:
    """The end comes in the same moment as the welcome: the loop connects again once, and not twice."""
    serving, number = set[asyncio.StreamWriter](), count(1)
    welcome = framed(msgspec.msgpack.encode(Welcome(ModelInfo(context_length=100, unserved={}))))

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(HEADER)
        writer.write(welcome)
        if next(number) > 2:
            serving.add(writer)
            await reader.read()
            serving.discard(writer)
        writer.close()

    async def locate() -> EngineAddress:
        return EngineAddress(str(tmp_path / "s"), b"")

    async def main() -> None:
        async with await asyncio.start_unix_server(accept, tmp_path / "s"):
            loop = AttachedEngine("test", locate, EngineRules(stall_seconds=PATIENT))
            await loop.start(lambda _part: None)
            await becomes(lambda: loop.stats.restarts == 2 and loop.healthy)
            assert len(serving) == 1
            await loop.close()
            await becomes(lambda: not serving)

    asyncio.run(asyncio.wait_for(main(), 30))


def test_several_loops_share_a_process_fairly(tmp_path: Path) -> None:
    """Requests of two connections take turns by their owners, and a connection that ends frees its slots."""
    order: list[str] = []

    async def scenario(engine: ProcessEngine) -> None:
        events = HostEvents(lambda _batches: None, lambda: None, lambda _host: None)
        address = engine.address
        assert address is not None
        other = await EngineLink.open(address, events, lambda: None)
        await other.info()
        for number in range(1, 5):
            shared = other.prompt_of(TextPrompt("w " * 1000))
            other.new_job(number, text_request("", owner="greedy"), shared, queues=True)
        await becomes(lambda: engine.stats.running == 4)

        async def ask(owner: str) -> None:
            await collect(engine, text_request("w ", owner=owner))
            order.append(owner)

        tasks = [asyncio.create_task(ask("greedy")) for _ in range(6)]
        await becomes(lambda: engine.stats.waiting == 6)
        tasks.append(asyncio.create_task(ask("modest")))
        await becomes(lambda: engine.stats.waiting == 7)
        other.close()
        await asyncio.gather(*tasks)
        assert "modest" in order[:4]
        assert engine.stats.cancelled == 4

    run(tmp_path, scenario)


def test_a_loop_that_reads_nothing_stops_nobody(tmp_path: Path) -> None:
    """Events of one connection are never read: the engine serves others, and cuts it off once too much waits."""

    async def scenario(engine: ProcessEngine) -> None:
        address = engine.address
        assert address is not None
        with socket.socket(socket.AF_UNIX) as deaf:
            deaf.connect(address.path)
            deaf.sendall(framed(msgspec.msgpack.encode(Introduction(address.nonce))))
            assert await asyncio.to_thread(deaf.recv, 1)
            asked = msgspec.json.encode(text_request("", ignore_eos=True))
            content = msgspec.json.encode(TextPrompt("x" * 50_000 + " "))
            deaf.sendall(framed(msgspec.msgpack.encode(NewJob(1, asked, 1, content, queues=True))))
            await becomes(lambda: engine.stats.running == 1)
            assert text_of(await collect(engine, text_request("b "))) == "b b b "
            await becomes(lambda: engine.stats.cancelled == 1)
            assert text_of(await collect(engine, text_request("b "))) == "b b b "

    run(tmp_path, scenario, echo(context=10_000_000, step_seconds=0.001))
