"""Output formats are tried before the engine hears of them: what is too much is refused, and holds up nobody.

On the event loop. Each format is looked at, tried in a process of its own if it is not plainly harmless, and then
compiled on a thread, so that ``prepare`` finds it made: the engine's thread compiles nothing. How it came out is
remembered.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec

from jan.engine.formats import FormatCompiler, OutputFormat, format_refused
from jan.engine.grammars.trial_child import CPU_SECONDS
from jan.engine.grammars.trial_process import Died, TrialProcess
from jan.engine.refusals import trials_full, untried
from jan.errors import InvalidRequest, JanError

_AT_ONCE = 2
_MOST_OF_ONE = 16
_MOST_WAITING = 64
_REMEMBERED = 1024


class TrialQueue:
    """Whose format is compiled: of each owner one at a time, so many in all, in the order in which they came."""

    def __init__(self, at_once: int) -> None:
        self._slots = asyncio.Semaphore(at_once)
        self._owners: dict[str, asyncio.Lock] = {}
        self._waiting: list[str] = []

    @asynccontextmanager
    async def of(self, owner: str) -> AsyncGenerator[None, None]:
        """Wait for one's turn; raises Unavailable where too many wait."""
        own = self._waiting.count(owner)
        if own >= _MOST_OF_ONE or len(self._waiting) >= _MOST_WAITING:
            raise trials_full(len(self._waiting))
        self._waiting.append(owner)
        try:
            async with self._owners.setdefault(owner, asyncio.Lock()), self._slots:
                yield
        finally:
            self._waiting.remove(owner)
            if owner not in self._waiting:
                del self._owners[owner]


class Trials:
    """What is known of one model's formats, and the processes that find out. ``tried`` counts trials."""

    def __init__(self, compiler: FormatCompiler) -> None:
        self._compiler = compiler
        self._turns = TrialQueue(_AT_ONCE)
        self._idle: list[TrialProcess] = []
        self._busy: set[TrialProcess] = set()
        self._verdicts: OrderedDict[bytes, InvalidRequest | None] = OrderedDict()
        self._under_way: dict[tuple[bytes, str], asyncio.Task[JanError | None]] = {}
        self._closed = False
        self.tried = 0

    async def admit(self, output: OutputFormat, owner: str) -> None:
        """Return when the engine can take a format; raises InvalidRequest for one that can't be enforced, and
        Unavailable where that can't be found out at present."""
        if not output.binds:
            return
        key = output.key
        refused: JanError | None = None
        if key in self._verdicts:
            self._verdicts.move_to_end(key)
            refused = self._verdicts[key]
        if refused is None and not (key in self._verdicts and self._compiler.has(key)):
            # Once for all of a request's choices. It goes on when they leave, so that it is known the next time.
            task = self._under_way.get((key, owner))
            if task is None:
                task = self._under_way[key, owner] = asyncio.create_task(self._find_out(key, output, owner))
                task.add_done_callback(lambda _task: self._under_way.pop((key, owner)))
            refused = await asyncio.shield(task)
        if refused is not None:
            # A new one: its traceback is this request's.
            raise type(refused)(refused.message, code=refused.code, param=refused.param, headers=refused.headers)

    async def _find_out(self, key: bytes, output: OutputFormat, owner: str) -> JanError | None:
        """Why a format is refused, None if it was made."""
        refused: InvalidRequest | None = None
        try:
            if await asyncio.to_thread(self._compiler.measure, output):
                await asyncio.to_thread(self._compiler.make, output)
            else:
                async with self._turns.of(owner):
                    if key not in self._verdicts:
                        await self._try(output)
                    await asyncio.to_thread(self._compiler.make, output)
        except InvalidRequest as error:
            refused = error
        except JanError as error:
            return error
        self._verdicts[key] = refused
        if len(self._verdicts) > _REMEMBERED:
            self._verdicts.popitem(last=False)
        return refused

    async def _try(self, output: OutputFormat) -> None:
        """Raises InvalidRequest for a format that the compiler refuses, or does not come to an end with."""
        if self._closed:
            raise untried()
        self.tried += 1
        content = msgspec.msgpack.encode(output)
        if self._idle:
            try:
                return await self._attempt(content, self._idle.pop())
            except Died as died:
                if died.of_time or died.on_purpose:
                    raise self._explained(died) from None
            # Another time: it may have died before, or of what it tried before.
        try:
            await self._attempt(content, await self._start())
        except Died as died:
            raise self._explained(died) from None

    async def _start(self) -> TrialProcess:
        return await TrialProcess.start(self._compiler.origin)

    async def _attempt(self, content: bytes, process: TrialProcess) -> None:
        self._busy.add(process)
        try:
            if self._closed:
                process.kill()
            report = await process.attempt(content)
            self._idle.append(process)
        finally:
            self._busy.discard(process)
        if report.message:
            raise InvalidRequest(report.message, code="invalid_schema", param=report.param)

    def _explained(self, died: Died) -> JanError:
        if died.of_time:
            return format_refused(f"compiling it takes more than {CPU_SECONDS:g} s of computing", died.param)
        if died.of_itself:
            return format_refused("compiling it takes more memory than it may", died.param)
        return untried()

    async def close(self) -> None:
        """End the processes; formats that are under way are not known then."""
        self._closed = True
        for process in self._busy:
            process.kill()
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)
        await asyncio.gather(*(process.end() for process in self._idle))
