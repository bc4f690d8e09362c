"""The process of an engine as its parent sees it: start, load, last words, end."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable

import msgspec
import structlog

from jan.children.child_environment import library_environment
from jan.children.framing import framed
from jan.engine.base import OnProgress
from jan.engine.isolation.engine_messages import FromProcess, LoadedPart, LogLine, ProcessPlan
from jan.engine.isolation.frame_channel import FrameChannel
from jan.errors import ConfigurationError

log = structlog.get_logger(__name__)

_CODE = "from jan.engine.isolation.engine_child import main; main()"
_CLOSE = framed(b"close")
# Lines of standard error that are kept, and characters of each.
_LINES, _LINE = 12, 300
_CHUNK = 1 << 16


class EngineProcess:
    """One process, started by the event loop's thread, with whose end it would end too.

    ``on_end``: called on the event loop when it has ended and all that it wrote is read.
    """

    def __init__(self, plan: ProcessPlan, on_end: Callable[[], None]) -> None:
        self._plan = plan
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._loaded: asyncio.Future[None] = self._loop.create_future()
        self._progress: OnProgress = lambda _part: None
        self._words: deque[str] = deque(maxlen=_LINES)
        self._killed = False
        self.ended = asyncio.Event()
        try:
            # -P: import nothing from the working directory. A session of its own, because Ctrl-C is for the
            # server. The name is for whoever looks at the processes.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _CODE, plan.name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=library_environment(),
                start_new_session=True,
                pass_fds=(plan.listener,),
            )
        except OSError as error:
            raise ConfigurationError(f"The engine's process can't be started: {error}.") from error
        self._open_pipes()
        threading.Thread(target=self._await_end, name=f"engine-process-{plan.name}", daemon=True).start()

    def _open_pipes(self) -> None:
        stdin, stdout, stderr = self._process.stdin, self._process.stdout, self._process.stderr
        assert stdin is not None  # all three are pipes
        assert stdout is not None
        assert stderr is not None
        reads, writes, self._stderr = os.dup(stdout.fileno()), os.dup(stdin.fileno()), os.dup(stderr.fileno())
        for pipe in (stdin, stdout, stderr):
            pipe.close()
        for descriptor in (reads, writes, self._stderr):
            os.set_blocking(descriptor, False)
        self._decoder = msgspec.msgpack.Decoder(FromProcess)
        self._channel = FrameChannel(reads, writes, self._take, lambda: None)
        self._loop.add_reader(self._stderr, self._read_words)
        self._channel.send(msgspec.msgpack.encode(self._plan, enc_hook=str))

    @property
    def pid(self) -> int:
        """The id of the process in the system."""
        return self._process.pid

    async def load(self, progress: OnProgress) -> None:
        """Wait until the model is loaded. Raises ConfigurationError if it can't be, or the process ends."""
        self._progress = progress
        await self._loaded

    def _take(self, frames: list[bytes]) -> None:
        for frame in frames:
            message = self._decoder.decode(frame)
            if isinstance(message, LogLine):
                getattr(log, message.level)(message.event, **{**message.fields, "pid": self.pid})
            elif isinstance(message, LoadedPart):
                self._progress(message.part)
            elif not message.problem:
                self._settle(None)
            else:
                self._settle(ConfigurationError(message.problem))

    def _settle(self, error: Exception | None) -> None:
        if self._loaded.done():
            return
        if error is None:
            self._loaded.set_result(None)
        else:
            self._loaded.set_exception(error)
            self._loaded.exception()  # nobody may be waiting any more

    def _read_words(self) -> None:
        """Keep the last lines of standard error."""
        try:
            data = os.read(self._stderr, _CHUNK)
        except BlockingIOError:
            return
        if not data:
            self._loop.remove_reader(self._stderr)
            return
        self._words.extend(line[:_LINE] for line in data.decode(errors="replace").splitlines() if line.strip())

    def close(self) -> None:
        """Ask it to free the model and to end."""
        self._channel.send_framed(_CLOSE)

    def kill(self) -> None:
        """End it at once, whatever it does."""
        self._killed = True
        if self._process.poll() is None:
            self._process.kill()

    def _await_end(self) -> None:
        """Wait for the end, on a thread of its own, so that the process stays in no table of the system."""
        self._process.wait()
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._has_ended)

    def _has_ended(self) -> None:
        self._channel.drain()
        self._read_words()
        self._loop.remove_reader(self._stderr)
        os.close(self._stderr)
        self._channel.close()
        self.ended.set()
        said = f" ({self._words[-1].rstrip('.')})" if self._words else ""
        self._settle(ConfigurationError(f"The model's process ended while it loaded, {self.end}{said}."))
        self._on_end()

    @property
    def was_killed(self) -> bool:
        """True if it was ended from here."""
        return self._killed

    @property
    def end(self) -> str:
        """How it ended, as the end of a sentence: by which signal, or with which code."""
        code = self._process.returncode
        if code is None:
            return "not yet"
        if code >= 0:
            return f"with code {code}"
        try:
            return f"by {signal.Signals(-code).name}"
        except ValueError:
            return f"by signal {-code}"

    @property
    def last_words(self) -> list[str]:
        """The last lines that it or its library wrote to standard error."""
        return list(self._words)
