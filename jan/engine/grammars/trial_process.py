"""The server's side of a trial process: start it, send it formats, and find out why it died."""

import asyncio
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress

import msgspec
import structlog

from jan.children.child_environment import bare_environment
from jan.children.framing import HEADER, framed
from jan.engine.grammars.trial_child import TrialReport
from jan.engine.refusals import cannot_be_tried

log = structlog.get_logger(__name__)

# The real limits are on CPU time. These are for a machine that gives the process no CPU time.
_START_SECONDS = 60.0
_TRIAL_SECONDS = 60.0
_END_SECONDS = 5.0
# A lower priority than the engine's.
_NICE = 5

_CODE = f"import os; os.nice({_NICE}); from jan.engine.grammars.trial_child import main; main()"
# Signals that end a process without memory, or whose compiler overflowed the stack.
_CRASHES = (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGILL)


class TrialProcessDied(Exception):
    """A trial process has ended during a trial.

    ``param``: the request's parameter that it compiled. ``code``: its exit code, None if the server ended it.
    """

    def __init__(self, param: str, code: int | None) -> None:
        super().__init__(param, code)
        self.param = param
        self.code = code

    @property
    def timed_out(self) -> bool:
        """True if it exceeded its CPU time."""
        return self.code == -signal.SIGPROF

    @property
    def was_killed(self) -> bool:
        """True if the server ended it."""
        return self.code is None

    @property
    def crashed(self) -> bool:
        """True if it ran out of memory or of stack."""
        return self.code is not None and (self.code >= 0 or -self.code in _CRASHES)


class TrialProcess:
    """One trial process. It takes one format at a time, until it dies."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None  # it is a pipe
        assert process.stdout is not None
        self._process = process
        self._writer, self._reader = process.stdin, process.stdout
        self._killed = False
        self._param = ""

    @classmethod
    async def start(cls, origin: bytes) -> "TrialProcess":
        """Start a process for the compiler with this origin. Raises Unavailable if that fails."""
        try:
            # -P: import nothing from the working directory. A session of its own, because Ctrl-C is for the
            # server.
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-c", _CODE),
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,
                env=bare_environment(OPENBLAS_NUM_THREADS="1"),
                start_new_session=True,
            )
        except OSError as error:
            log.error("the process that tries output formats can't be started", reason=str(error))
            raise cannot_be_tried() from error
        made = cls(process)
        if await made._ask(origin, _START_SECONDS) is None:
            log.error("the process that tries output formats did not start", exit_code=await made.end())
            raise cannot_be_tried()
        return made

    async def compile(self, output: bytes) -> TrialReport:
        """Compile a format, given as JSON; returns the result. Raises TrialProcessDied."""
        report = await self._ask(output, _TRIAL_SECONDS)
        if report is not None:
            return report
        code = await self.end()
        raise TrialProcessDied(self._param, None if self._killed else code)

    async def _ask(self, content: bytes, seconds: float) -> TrialReport | None:
        """Return the report, None if the process died or did not answer in time."""
        try:
            async with asyncio.timeout(seconds):
                self._writer.write(framed(content))
                await self._writer.drain()
                while not (report := await self._read()).done:
                    self._param = report.param
        except (OSError, asyncio.IncompleteReadError):
            return None
        except TimeoutError:
            self.kill()
            return None
        return report

    async def _read(self) -> TrialReport:
        length = int.from_bytes(await self._reader.readexactly(HEADER), "big")
        return msgspec.msgpack.decode(await self._reader.readexactly(length), type=TrialReport)

    async def end(self) -> int:
        """End the process by ending its input; returns its exit code."""
        self._writer.close()
        try:
            async with asyncio.timeout(_END_SECONDS):
                return await self._process.wait()
        except TimeoutError:
            self.kill()
            return await self._process.wait()

    def kill(self) -> None:
        """Kill the process at once."""
        self._killed = True
        with suppress(ProcessLookupError):
            self._process.kill()
