"""Try output formats before the engine gets them, so that a costly one is refused and delays nobody.

Runs on the event loop. The cost of each format is estimated. If it is not certain to be cheap, it is tried in a
child process. Then it is compiled on a helper thread, so the engine's thread finds it in the cache and compiles
nothing. The verdict is remembered.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec

from jan.engine.formats import FormatCompiler, OutputFormat, format_refused
from jan.engine.grammars.trial_child import CPU_SECONDS
from jan.engine.grammars.trial_process import TrialProcess, TrialProcessDied
from jan.engine.refusals import cannot_be_tried, own_trials_full, trials_full
from jan.errors import InvalidRequest, JanError

_CONCURRENT_TRIALS = 2
_MAX_WAITING_OF_OWNER = 16
_MAX_WAITING = 64
_MAX_VERDICTS = 1024


class TrialQueue:
    """Limits trials to one of each owner at a time and ``concurrent`` in all, first come, first served."""

    def __init__(self, concurrent: int) -> None:
        self._turns = asyncio.Semaphore(concurrent)
        self._owners: dict[str, asyncio.Lock] = {}
        self._waiting: list[str] = []

    @asynccontextmanager
    async def turn_of(self, owner: str) -> AsyncGenerator[None, None]:
        """Wait for the owner's turn and hold it. Raises Unavailable if too many wait."""
        if (own := self._waiting.count(owner)) >= _MAX_WAITING_OF_OWNER:
            raise own_trials_full(own)
        if len(self._waiting) >= _MAX_WAITING:
            raise trials_full(len(self._waiting))
        self._waiting.append(owner)
        try:
            async with self._owners.setdefault(owner, asyncio.Lock()), self._turns:
                yield
        finally:
            self._waiting.remove(owner)
            if owner not in self._waiting:
                del self._owners[owner]


class Trials:
    """Verdicts about one model's formats, and the processes that reach them. ``tried``: number of trials.

    Usage::

        trials = Trials(info.formats)
        await trials.admit(request.output, request.owner)
        ...
        await trials.close()
    """

    def __init__(self, compiler: FormatCompiler) -> None:
        self._compiler = compiler
        self._queue = TrialQueue(_CONCURRENT_TRIALS)
        self._idle: list[TrialProcess] = []
        self._busy: set[TrialProcess] = set()
        self._verdicts: OrderedDict[bytes, InvalidRequest | None] = OrderedDict()
        self._running: dict[tuple[bytes, str], asyncio.Task[JanError | None]] = {}
        self._closed = False
        self.tried = 0

    async def admit(self, output: OutputFormat, owner: str) -> None:
        """Wait until the engine can use a format.

        Raises:
            InvalidRequest: if the format can't be enforced.
            Unavailable: if that can't be found out at present.
        """
        if not output.binds:
            return
        key = output.key
        refused: JanError | None = None
        if key in self._verdicts:
            self._verdicts.move_to_end(key)
            refused = self._verdicts[key]
        if refused is None and not (key in self._verdicts and self._compiler.has_compiled(key)):
            # One trial for all choices of a request. It continues if the clients leave, to be known next time.
            task = self._running.get((key, owner))
            if task is None:
                task = self._running[key, owner] = asyncio.create_task(self._find_out(key, output, owner))
                task.add_done_callback(lambda _task: self._running.pop((key, owner)))
            refused = await asyncio.shield(task)
        if refused is not None:
            # A new exception, because a traceback belongs to one request.
            raise type(refused)(refused.message, code=refused.code, param=refused.param, headers=refused.headers)

    async def _find_out(self, key: bytes, output: OutputFormat, owner: str) -> JanError | None:
        """Return the error of a format, None if it is compiled."""
        refused: InvalidRequest | None = None
        try:
            if await asyncio.to_thread(self._compiler.check_cost, output):
                await asyncio.to_thread(self._compiler.compile_ahead, output)
            else:
                async with self._queue.turn_of(owner):
                    if key not in self._verdicts:
                        await self._try(output)
                    await asyncio.to_thread(self._compiler.compile_ahead, output)
        except InvalidRequest as error:
            refused = error
        except JanError as error:
            return error
        self._verdicts[key] = refused
        if len(self._verdicts) > _MAX_VERDICTS:
            self._verdicts.popitem(last=False)
        return refused

    async def _try(self, output: OutputFormat) -> None:
        """Try a format in a process. Raises InvalidRequest if the compiler refuses it or exceeds the limits."""
        if self._closed:
            raise cannot_be_tried()
        self.tried += 1
        content = msgspec.json.encode(output)
        if self._idle:
            try:
                return await self._compile(content, self._idle.pop())
            except TrialProcessDied as died:
                if died.timed_out or died.was_killed:
                    raise self._explained(died) from None
            # Try again in a new process: this one may have died before, or because of an earlier format.
        try:
            await self._compile(content, await self._start())
        except TrialProcessDied as died:
            raise self._explained(died) from None

    async def _start(self) -> TrialProcess:
        return await TrialProcess.start(self._compiler.origin)

    async def _compile(self, content: bytes, process: TrialProcess) -> None:
        self._busy.add(process)
        try:
            if self._closed:
                process.kill()
            report = await process.compile(content)
            self._idle.append(process)
        finally:
            self._busy.discard(process)
        if report.message:
            raise InvalidRequest(report.message, code="invalid_schema", param=report.param)

    def _explained(self, died: TrialProcessDied) -> JanError:
        if died.timed_out:
            return format_refused(f"compiling it takes more than {CPU_SECONDS:g} s of computing", died.param)
        if died.crashed:
            return format_refused("compiling it takes more memory than it may", died.param)
        return cannot_be_tried()

    async def close(self) -> None:
        """End the processes. Running trials end without a verdict."""
        self._closed = True
        for process in self._busy:
            process.kill()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        await asyncio.gather(*(process.end() for process in self._idle))
