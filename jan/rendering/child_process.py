"""The server's side of a child process: start it, give it a job, notice its end."""

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from typing import Literal

from jan.children.child_environment import bare_environment
from jan.children.framing import HEADER, framed

# The real limits are on CPU time. This is for a machine that gives the process none.
_SECONDS = 60.0
# A lower priority than the models'.
_NICE = 5
_CODE = f"import os, sys; os.nice({_NICE}); from jan.rendering.child import main; main(sys.argv[1])"


class ChildProcess:
    """One process, which does one job at a time until it ends."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None  # it is a pipe
        assert process.stdout is not None
        self._process = process
        self._writer, self._reader = process.stdin, process.stdout

    @classmethod
    async def start(cls, kind: Literal["markdown", "pdf"]) -> "ChildProcess":
        """Start a process for jobs of a kind. Raises OSError if the system has no process left."""
        # -P: import nothing from the working directory. A session of its own, because Ctrl-C is for the server.
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-c", _CODE, kind),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            env=bare_environment(),
            start_new_session=True,
        )
        return cls(process)

    @property
    def has_ended(self) -> bool:
        """True once the process is known to have ended."""
        return self._process.returncode is not None

    async def ask(self, job: bytes) -> bytes | None:
        """Return the result of a job, None if the process has ended or did not answer in time."""
        try:
            async with asyncio.timeout(_SECONDS):
                self._writer.write(framed(job))
                await self._writer.drain()
                size = int.from_bytes(await self._reader.readexactly(HEADER), "big")
                return await self._reader.readexactly(size)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            return None

    async def end(self) -> None:
        """End the process at once, and wait until it has ended."""
        with suppress(ProcessLookupError):
            self._process.kill()
        self._writer.close()
        await self._process.wait()
