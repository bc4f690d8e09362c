"""One web loop as its supervisor sees it: a process, and a link to it."""

import asyncio
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from jan.children.child_environment import whole_environment
from jan.engine.base import Failed
from jan.errors import ConfigurationError
from jan.loops.link import Link
from jan.loops.questions import BEGIN, FAILED, READY, Beginning, LoopReady, Nothing

# Beyond the grace period: how long a loop may take to write and close what it has.
_CLOSE_SECONDS = 15.0


class LoopProcess:
    """A process that serves, made by ``start``. ``ended`` is settled with its exit code."""

    def __init__(self, number: int, process: asyncio.subprocess.Process, link: Link) -> None:
        self.number = number
        self.link = link
        self.pid = process.pid
        self._process = process
        self._told_to_stop = False
        self._ready: asyncio.Future[LoopReady] = asyncio.get_running_loop().create_future()
        self.ended = asyncio.create_task(process.wait())

    @classmethod
    async def start(cls, beginning: Beginning, on_lost: Callable[[Link], None]) -> "LoopProcess":
        """Start a process that begins so. ``on_lost`` is called with its link when it has ended."""
        ours, theirs = socket.socketpair()
        with theirs:
            inherited = (theirs.fileno(), *beginning.sockets)
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "jan.loops.web_loop",
                str(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                env=whole_environment(),
                pass_fds=inherited,
            )
        link = Link(ours, lambda: on_lost(link))
        loop = cls(beginning.number, process, link)

        async def begin(_asked: Nothing) -> Beginning:
            return beginning

        link.answer(BEGIN.answered_by(begin), READY.answered_by(loop._is_ready), FAILED.answered_by(loop._failed))
        return loop

    async def _is_ready(self, ready: LoopReady) -> Nothing:
        if not self._ready.done():
            self._ready.set_result(ready)
        return Nothing()

    async def _failed(self, failure: Failed) -> Nothing:
        if not self._ready.done():
            self._ready.set_exception(failure.error())
        return Nothing()

    async def ready(self) -> LoopReady:
        """Wait until it serves. Raises the JanError for which it can't."""
        either: set[asyncio.Future[Any]] = {self._ready, self.ended}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if self._ready.done():
            return self._ready.result()
        raise ConfigurationError(
            f"Web loop {self.number} ended before it served, with {self.reason}. The log says why."
        )

    @property
    def reason(self) -> str:
        """How it ended, for the log."""
        code = self._process.returncode
        if code is None:
            return "it runs"
        if code >= 0:
            return f"exit code {code}"
        with suppress(ValueError):
            return f"signal {signal.Signals(-code).name}"
        return f"signal {-code}"

    async def stop(self, grace_seconds: float) -> None:
        """Let it finish its requests within the grace period, and wait for its end; then end it at once.

        May be called while it stops already, which does not hurry it.
        """
        if not self._told_to_stop:
            self._told_to_stop = True
            with suppress(ProcessLookupError):
                self._process.terminate()
        await asyncio.wait({self.ended}, timeout=grace_seconds + _CLOSE_SECONDS)
        if not self.ended.done():
            with suppress(ProcessLookupError):
                self._process.kill()
            await self.ended
        await self.link.close()
        if self._ready.done() and not self._ready.cancelled():
            self._ready.exception()  # told already, or nobody waits for it
