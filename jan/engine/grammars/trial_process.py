"""The server's end of a trial process: start it, have a format tried, find out what it died of."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from pathlib import Path

import msgspec
import structlog

from jan.engine.grammars.trial_child import HEADER, TrialReport, framed
from jan.engine.refusals import untried

log = structlog.get_logger(__name__)

# The limits are on its own CPU time; these are for a machine that gives it none.
_START_SECONDS = 60.0
_TRIAL_SECONDS = 20.0
_END_SECONDS = 5.0
# It gives way to the engine, a little.
_NICE = 5

_ROOT = str(Path(__file__).resolve().parents[3])
_CODE = f"import os; os.nice({_NICE}); from jan.engine.grammars.trial_child import main; main()"
# Of the server's environment it gets no more than a Python needs: it compiles what strangers send.
_ENVIRONMENT = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "VIRTUAL_ENV")
# What a process dies of that was refused memory, or whose compiler ran into the end of its stack.
_CRASHES = (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGILL)


class Died(Exception):
    """A trial process has ended, at which parameter of the format; ``code``: None where it was made to."""

    def __init__(self, param: str, code: int | None) -> None:
        super().__init__(param, code)
        self.param = param
        self.code = code

    @property
    def of_time(self) -> bool:
        """Its time was up."""
        return self.code == -signal.SIGPROF

    @property
    def on_purpose(self) -> bool:
        """The server ended it."""
        return self.code is None

    @property
    def of_itself(self) -> bool:
        """It could not go on."""
        return self.code is not None and (self.code >= 0 or -self.code in _CRASHES)


class TrialProcess:
    """One trial process, until it dies of what it tries."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None  # it is a pipe
        assert process.stdout is not None
        self._process = process
        self._writer, self._reader = process.stdin, process.stdout
        self._killed = False
        self._param = ""

    @classmethod
    async def start(cls, origin: bytes) -> "TrialProcess":
        """Raises Unavailable if it can't be started."""
        known = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        path = os.pathsep.join([_ROOT, *filter(None, sys.path)])
        try:
            # -P: nothing from the working directory. A session of its own: Ctrl-C is for the server.
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-c", _CODE),
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,
                env={**known, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
                start_new_session=True,
            )
        except OSError as error:
            log.error("the process that tries output formats can't be started", reason=str(error))
            raise untried() from error
        made = cls(process)
        if await made._ask(origin, _START_SECONDS) is None:
            log.error("the process that tries output formats did not start", exit_code=await made.end())
            raise untried()
        return made

    async def attempt(self, output: bytes) -> TrialReport:
        """How a format comes out, encoded as msgpack; raises Died."""
        report = await self._ask(output, _TRIAL_SECONDS)
        if report is not None:
            return report
        code = await self.end()
        raise Died(self._param, None if self._killed else code)

    async def _ask(self, content: bytes, seconds: float) -> TrialReport | None:
        """The answer, None if it died or had none in time."""
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
        """Wait for its end, which the end of its input is; what it ended with."""
        self._writer.close()
        try:
            async with asyncio.timeout(_END_SECONDS):
                return await self._process.wait()
        except TimeoutError:
            self.kill()
            return await self._process.wait()

    def kill(self) -> None:
        """End it, whatever it is at."""
        self._killed = True
        with suppress(ProcessLookupError):
            self._process.kill()
