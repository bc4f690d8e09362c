"""Catches the log of one server among several in a process."""

import logging
import threading
from collections.abc import Coroutine, Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import structlog

from jan.telemetry.logs import redact

T = TypeVar("T")

Record = MutableMapping[str, Any]

# The server whose work is under way. Tasks and the threads of engines and stores inherit it.
_current: ContextVar["LogRecords | None"] = ContextVar("jan_testing_server", default=None)
_FOREIGN = ("tornado", "asyncio")


class LogRecords(logging.Handler):
    """The records of one server: structlog's events, and warnings and errors of Tornado and asyncio."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[Record] = []
        self._thread = 0

    @contextmanager
    def catch(self) -> Iterator[None]:
        """Catch what is logged in this context, and in what is begun from it."""
        self._thread = threading.get_ident()
        # The list itself, as structlog's own capture_logs does: loggers that were used before hold it.
        processors: list[Any] = structlog.get_config()["processors"]
        processors.insert(0, self._keep)
        logging.getLogger().addHandler(self)
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)
            logging.getLogger().removeHandler(self)
            processors.remove(self._keep)

    async def own(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine as a part of the server, in a task of its own."""
        _current.set(self)
        return await work

    def _keep(self, logger: Any, method: str, event: Record) -> Record:
        if _current.get() is not self:
            return event
        level = "error" if method == "exception" else method
        record = redact(logger, method, {**event, "level": level})
        self.records.append(structlog.processors.format_exc_info(logger, method, record))
        raise structlog.DropEvent

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record of the standard library's log."""
        # asyncio reports what a callback raised outside of its context, but on its thread.
        owner = _current.get()
        mine = owner is self or (owner is None and record.thread == self._thread)
        if mine and record.name.partition(".")[0] in _FOREIGN:
            event: Record = {
                "event": record.getMessage(),
                "level": record.levelname.lower(),
                "logger": record.name,
            }
            if record.exc_info:
                event["exc_info"] = record.exc_info
            self.records.append(structlog.processors.format_exc_info(None, record.levelname, event))
