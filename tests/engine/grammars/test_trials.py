"""Output formats are tried in a process that can be killed, so a hostile one costs nobody else anything."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.engine import collect, run_engine, text_of
from support.format import HOSTILE_SCHEMAS, another

pytest.importorskip("llguidance")

from jan.engine.backends.echo import EchoBackend, EchoOptions
from jan.engine.base import GenerationRequest, TextPrompt
from jan.engine.formats import OutputFormat
from jan.engine.grammars import trial_process
from jan.engine.grammars.constraint import GrammarCompiler, Vocabulary
from jan.engine.grammars.trial_process import TrialProcess
from jan.engine.grammars.trials import TrialQueue, Trials
from jan.engine.prompts.dialects import PLAIN, Dialect
from jan.engine.runtime.executor import ThreadedEngine
from jan.errors import InvalidRequest, Unavailable
from jan.schema.tools import FunctionDefinition, Tool

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
END = 256
# Seconds that nothing takes which is not broken.
PATIENCE = 60


class BytesCompiler(GrammarCompiler):
    """A compiler for a model whose tokens are bytes. Counts the formats and the texts that it gets."""

    def __init__(self, dialect: Dialect = PLAIN) -> None:
        self.asked: list[str] = []
        tokens = [bytes([value]) for value in range(256)] + [b"<end>"]
        super().__init__(Vocabulary(tokens, [END], [END], self._tokenize), dialect)
        self.compiled = 0

    def _tokenize(self, text: str) -> list[int]:
        self.asked.append(text)
        return list(text.encode())

    def matchers(self, *arguments: Any, **options: Any) -> Any:
        self.compiled += 1
        return super().matchers(*arguments, **options)


def schema(content: Any) -> OutputFormat:
    return OutputFormat(json_schema=msgspec.json.encode(content).decode())


def pattern(number: int) -> OutputFormat:
    """Return one of many valid formats that are not simple enough to need no trial."""
    return schema({"type": "string", "pattern": f"^a{{{number + 1}}}$"})


WORST = schema(HOSTILE_SCHEMAS["4 multiples"])


def run(scenario: Callable[[Trials], Awaitable[Any]], compiler: GrammarCompiler | None = None) -> Any:
    async def main() -> Any:
        trials = Trials(compiler or BytesCompiler())
        try:
            return await asyncio.wait_for(scenario(trials), PATIENCE)
        finally:
            await trials.close()

    return asyncio.run(main())


async def refusal(trials: Trials, output: OutputFormat, owner: str = "a") -> InvalidRequest:
    with pytest.raises(InvalidRequest) as raised:
        await trials.admit(output, owner)
    assert raised.value.code == "invalid_schema"
    return raised.value


def pids(trials: Trials) -> list[int]:
    return [process._process.pid for process in (*trials._idle, *trials._busy)]


def gone(pid: int) -> bool:
    """Return True if a process has ended; a zombie has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a trial a fifth of its CPU time; whoever compiles for ever exceeds that too."""
    shorter = "import jan.engine.grammars.trial_child as child; child.CPU_SECONDS /= 5; "
    monkeypatch.setattr(trial_process, "_CODE", shorter + trial_process._CODE)


# --- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTILE_SCHEMAS)
@pytest.mark.usefixtures("small_limit")
def test_what_compiles_for_ever_is_refused(name: str) -> None:
    """The message names the parameter, the process is replaced, and the next valid format is accepted."""

    async def scenario(trials: Trials) -> None:
        await trials.admit(pattern(0), "a")
        (before,) = pids(trials)
        error = await refusal(trials, schema(HOSTILE_SCHEMAS[name]))
        assert error.param == "response_format"
        assert "computing" in error.message
        assert gone(before)
        await trials.admit(pattern(1), "a")
        assert pids(trials) != [before]
        await asyncio.gather(*trials._running.values())

    run(scenario)


@pytest.mark.usefixtures("small_limit")
def test_the_tool_of_many_is_named() -> None:
    """The limit holds for all formats of a request; the message names the parameter that exceeded it."""
    schemas = [{"type": "string", "pattern": f"a{{{n}}}"} for n in range(1, 8)]
    schemas[5] = HOSTILE_SCHEMAS["4 multiples"]
    tools = tuple(
        Tool(
            type="function",
            function=FunctionDefinition(
                name=f"f{index}", parameters={"type": "object", "properties": {"p": of_value}, "required": ["p"]}
            ),
        )
        for index, of_value in enumerate(schemas)
    )
    error = run(lambda trials: refusal(trials, OutputFormat(callable_tools=tools)))
    assert error.param == "tools[5].function.parameters"


def test_many_costly_tools_are_bounded_together() -> None:
    """Tools that are allowed alone are refused together."""
    tools = tuple(
        Tool(type="function", function=FunctionDefinition(name=f"f{n}", parameters={"const": "x" * 490_000}))
        for n in range(8)
    )
    error = run(lambda trials: refusal(trials, OutputFormat(callable_tools=tools)))
    assert (error.param, "long" in error.message) == ("tools[1].function.parameters", True)


def test_wrong_formats_are_refused_in_the_compilers_words() -> None:
    """The message has the compiler's words, as without a trial."""
    error = run(lambda trials: refusal(trials, schema({"type": "string", "pattern": "("})))
    assert "regex" in error.message


# --- what it costs ----------------------------------------------------------------------------------


def test_a_format_is_tried_once() -> None:
    """A format is tried once, valid or not, for all owners and for all choices of a request."""

    async def scenario(trials: Trials) -> None:
        await asyncio.gather(*(trials.admit(pattern(0), "a") for _ in range(16)))
        await trials.admit(pattern(0), "b")
        for _ in range(3):
            await refusal(trials, schema({"type": "string", "pattern": "("}))
        assert trials.tried == 2

    run(scenario)


def test_choices_share_what_was_compiled() -> None:
    """Sixteen choices need one compilation on a helper thread and none on the engine's thread; each has its own
    state."""
    compiler = BytesCompiler()

    async def scenario(trials: Trials) -> None:
        await asyncio.gather(*(trials.admit(pattern(1), "a") for _ in range(16)))

    run(scenario, compiler)
    constraints = [compiler.compile(pattern(1)) for _ in range(16)]
    assert compiler.compiled == 1
    first, second = constraints[:2]
    assert first is not None
    assert second is not None
    assert first.accept(ord('"'))
    assert not first.accept(ord('"'))
    assert second.accept(ord('"'))


@pytest.mark.parametrize("dialect", [Dialect(), Dialect(reasoning="think"), Dialect(tools="llama3")])
def test_whatever_the_prompt_ends_with_was_compiled(dialect: Dialect) -> None:
    """All dialects of an answer are compiled before the engine's thread needs one."""
    compiler = BytesCompiler(dialect)
    tool = Tool(type="function", function=FunctionDefinition(name="f", parameters={"pattern": "a"}))
    output = OutputFormat(callable_tools=(tool,))
    run(lambda trials: trials.admit(output, "a"), compiler)
    compiler.compile(output, dialect.after_prompt("<think>"))
    compiler.compile(output, dialect.after_prompt("text"))
    compiler.compile(output, dialect.continuing("<think>"))
    compiler.compile(output, dialect.continuing("text"))
    assert compiler.compiled == 1


def test_common_schemas_need_no_process() -> None:
    """A short and simple schema needs no trial, and neither does a free answer."""

    async def scenario(trials: Trials) -> None:
        person = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
        await trials.admit(schema(person), "a")
        await trials.admit(OutputFormat(), "a")
        await refusal(trials, schema({"enum": []}))
        assert (trials.tried, pids(trials)) == (0, [])

    run(scenario)


def test_an_engine_without_formats_has_no_trials() -> None:
    """An engine that enforces no formats needs no compiler, even if tools may be called."""
    tool = Tool(type="function", function=FunctionDefinition(name="f", parameters={"pattern": "a"}))
    request = GenerationRequest(prompt=TextPrompt("a"), output=OutputFormat(callable_tools=(tool,)))

    async def scenario(engine: ThreadedEngine) -> None:
        assert text_of(await collect(engine, request)) == "a"
        assert engine.info.formats is None

    run_engine(lambda: EchoBackend(EchoOptions()), scenario)


def test_a_long_fixed_text_is_not_tokenised_whole() -> None:
    """The library asks for the tokens of all fixed text before each token. For a long constant, that took a second
    each time on the engine's thread."""
    compiler = BytesCompiler()
    constraint = compiler.compile(schema({"const": "x" * 100_000}))
    assert constraint is not None
    for token in b'"xxx':
        assert constraint.allowed()[: END + 1].nonzero()[0].tolist() == [token]
        assert constraint.accept(token)
    assert 0 < max(map(len, compiler.asked)) < 1000


def test_what_is_kept_is_bounded() -> None:
    """The cache keeps only the latest formats."""
    compiler = BytesCompiler()
    for number in range(200):
        compiler.compile_ahead(pattern(number))
    assert compiler.has_compiled(pattern(199).key)
    assert not compiler.has_compiled(pattern(0).key)


# --- who waits --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_limit")
def test_others_are_tried_meanwhile() -> None:
    """Another owner's valid format is accepted before one caller's many hostile ones are all tried."""

    async def scenario(trials: Trials) -> None:
        hostile = [schema(another("4 multiples", number)) for number in range(6)]
        waiting = [asyncio.create_task(refusal(trials, output)) for output in hostile]
        await asyncio.sleep(0)
        await trials.admit(pattern(0), "b")
        assert sum(task.done() for task in waiting) < len(waiting) - 1
        await asyncio.gather(*waiting)

    run(scenario)


def test_turns_are_one_of_each_owner() -> None:
    """Two owners run at once, each with one format at a time; a third owner comes before a second format of the
    first."""

    async def scenario() -> list[str]:
        turns, order = TrialQueue(2), []

        async def take(owner: str) -> None:
            async with turns.turn_of(owner):
                order.append(owner)
                await asyncio.sleep(0)
                await asyncio.sleep(0)

        await asyncio.gather(*(take(owner) for owner in "aaabc"))
        return order

    assert asyncio.run(scenario())[:3] == ["a", "b", "c"]


def test_so_many_may_wait() -> None:
    """Further formats of an owner are refused as overloaded, without a verdict about them."""

    async def scenario(trials: Trials) -> None:
        results = await asyncio.gather(
            *(trials.admit(pattern(number), "a") for number in range(40)), return_exceptions=True
        )
        assert {type(result) for result in results} == {type(None), Unavailable}
        refused = [number for number, result in enumerate(results) if result is not None]
        await trials.admit(pattern(refused[0]), "a")

    run(scenario)


@pytest.mark.usefixtures("small_limit")
def test_the_loop_goes_on_meanwhile() -> None:
    """The event loop keeps running while a format is tried."""

    async def scenario(trials: Trials) -> int:
        task = asyncio.create_task(refusal(trials, WORST))
        turns = 0
        while not task.done():
            await asyncio.sleep(0.01)
            turns += 1
        return turns

    assert run(scenario) > 10


# --- ends -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_limit")
def test_a_process_that_is_killed_says_nothing_of_the_format() -> None:
    """The machine may be short of memory: the answer is 503, and the same format is tried again."""

    async def scenario(trials: Trials) -> None:
        task = asyncio.create_task(trials.admit(WORST, "a"))
        while not trials._busy:
            await asyncio.sleep(0.01)
        os.kill(pids(trials)[0], signal.SIGKILL)
        with pytest.raises(Unavailable, match="Try again"):
            await task
        await refusal(trials, WORST)
        assert trials.tried == 2

    run(scenario)


def test_what_takes_too_much_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies and the server does not; the message names the parameter."""
    start = TrialProcess.start

    async def start_small(origin: bytes) -> TrialProcess:
        process = await start(origin)
        pid = process._process.pid
        most, _ = resource.prlimit(pid, resource.RLIMIT_AS)
        most -= 500 * 2**20  # of the 512 MiB that it has
        resource.prlimit(pid, resource.RLIMIT_AS, (most, most))
        return process

    monkeypatch.setattr(TrialProcess, "start", start_small)
    error = run(lambda trials: refusal(trials, schema({"const": "x" * 250_000})))
    assert ("memory" in error.message, error.param) == (True, "response_format")


def test_a_process_that_died_while_idle_is_replaced() -> None:
    """The next format is tried in a new process."""

    async def scenario(trials: Trials) -> None:
        await trials.admit(pattern(0), "a")
        os.kill(pids(trials)[0], signal.SIGKILL)
        await trials.admit(pattern(1), "a")

    run(scenario)


def test_a_process_that_can_not_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a process, formats are refused and not compiled untried."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    compiler = BytesCompiler()

    async def scenario(trials: Trials) -> None:
        with pytest.raises(Unavailable, match="can't be checked"):
            await trials.admit(pattern(0), "a")

    run(scenario, compiler)
    assert compiler.compiled == 0


def test_close_ends_the_processes() -> None:
    """Idle and busy processes end, and waiting requests fail."""

    async def scenario() -> list[int]:
        trials = Trials(BytesCompiler())
        await asyncio.gather(trials.admit(pattern(0), "a"), trials.admit(pattern(1), "b"))
        task = asyncio.create_task(trials.admit(WORST, "a"))
        while not trials._busy:
            await asyncio.sleep(0.01)
        found = pids(trials)
        await trials.close()
        with pytest.raises(Unavailable):
            await task
        return found

    found = asyncio.run(scenario())
    assert found
    assert all(map(gone, found))


ORPHAN = """
    import asyncio, sys
    sys.path[:0] = {paths!r}
    from jan.engine.grammars.trial_process import TrialProcess
    from test_trials import WORST, BytesCompiler
    import msgspec

    async def main():
        idle = await TrialProcess.start(BytesCompiler().origin)
        busy = await TrialProcess.start(BytesCompiler().origin)
        task = asyncio.create_task(busy.compile(msgspec.msgpack.encode(WORST)))
        await asyncio.sleep(0.1)
        print(idle._process.pid, busy._process.pid, flush=True)
        await asyncio.sleep(1000)

    asyncio.run(main())
"""


def test_no_process_outlives_the_server() -> None:
    """If the server is killed, its idle and its busy process end too."""
    code = textwrap.dedent(ORPHAN).format(paths=[str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)])
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    found = [int(word) for word in server.stdout.readline().split()]
    server.kill()
    server.wait()
    server.stdout.close()
    assert len(found) == 2
    until = time.monotonic() + PATIENCE
    while not all(map(gone, found)):
        assert time.monotonic() < until
        time.sleep(0.05)
