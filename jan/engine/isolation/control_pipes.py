"""The process's side of the pipes between an engine's process and its parent; its log goes through them too."""

import logging
import os
import sys
from collections.abc import Callable, MutableMapping
from typing import Any, NoReturn

import msgspec
import structlog

from jan.children.framing import HEADER
from jan.engine.isolation.engine_messages import FromProcess, LogLine, ProcessPlan
from jan.engine.isolation.frame_channel import FrameChannel

# The exit code of a process whose parent has gone.
_ORPHANED = 72


class ControlPipes:
    """Standard input and output, which nothing else in the process has any more.

    What libraries write to standard output goes to standard error, whose end the parent reads. They never wait for
    it: what does not fit is lost.
    """

    def __init__(self) -> None:
        self._reads, self._writes = os.dup(0), os.dup(1)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(2, 1)
        os.close(null)
        os.set_blocking(2, False)

    def plan(self) -> ProcessPlan:
        """Wait for the plan, which the parent sends first."""
        length = int.from_bytes(self._read(HEADER), "big")
        return msgspec.msgpack.decode(self._read(length), type=ProcessPlan)

    def _read(self, size: int) -> bytes:
        content = b""
        while len(content) < size:
            part = os.read(self._reads, size - len(content))
            if not part:
                _leave()
            content += part
        return content

    def open(self, on_close: Callable[[], None]) -> None:
        """Use the pipes from the running event loop. ``on_close``: called when the parent asks for the end."""
        os.set_blocking(self._reads, False)
        os.set_blocking(self._writes, False)
        self._channel = FrameChannel(self._reads, self._writes, lambda _frames: on_close(), _leave)
        structlog.configure(
            processors=[structlog.contextvars.merge_contextvars, structlog.processors.format_exc_info, self._log],
            wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        )
        handler = _Handler(self)
        handler.setFormatter(logging.Formatter())
        logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
        logging.captureWarnings(True)

    def send(self, message: FromProcess) -> None:
        """Send a message to the parent. Any thread may call it."""
        self._channel.send(msgspec.msgpack.encode(message, enc_hook=repr))

    async def flush(self, seconds: float) -> None:
        """Wait until everything is sent, at most this long."""
        await self._channel.flush(seconds)

    def _log(self, _logger: Any, method: str, event: MutableMapping[str, Any]) -> NoReturn:
        """Send a line of structlog's to the parent instead of printing it."""
        text = str(event.pop("event", ""))
        self.send(LogLine("error" if method == "exception" else method, text, dict(event)))
        raise structlog.DropEvent


class _Handler(logging.Handler):
    """Sends warnings and errors of libraries to the parent."""

    def __init__(self, pipes: ControlPipes) -> None:
        super().__init__()
        self._pipes = pipes

    def emit(self, record: logging.LogRecord) -> None:
        """Send a line, with the traceback if there is one."""
        level = "error" if record.levelno >= logging.ERROR else "warning"
        self._pipes.send(LogLine(level, self.format(record), {"logger": record.name}))


def _leave() -> NoReturn:
    """End the process at once: its parent has gone."""
    sys.stderr.flush()
    os._exit(_ORPHANED)
