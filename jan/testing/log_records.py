"""Catches the log of one server among several in a process."""

import logging
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import structlog

from jan.telemetry.logs import redact

Record = MutableMapping[str, Any]

# The server whose work is under way; None in an engine's thread, which has no context of its own.
_current: ContextVar["LogRecords | None"] = ContextVar("jan_testing_server", default=None)
_FOREIGN = ("tornado", "asyncio")


class LogRecords(logging.Handler):
    """The records of one server: structlog's events, and warnings and errors of Tornado and asyncio.

    What an engine's thread logs can't be told apart, and goes to every server that runs.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[Record] = []

    @contextmanager
    def catch(self) -> Iterator[None]:
        """Catch what is logged in this context, and in what is begun from it."""
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

    def _keep(self, logger: Any, method: str, event: Record) -> Record:
        if _current.get() not in (self, None):
            return event
        level = "error" if method == "exception" else method
        record = redact(logger, method, {**event, "level": level})
        self.records.append(structlog.processors.format_exc_info(logger, method, record))
        if _current.get() is self:
            raise structlog.DropEvent
        return event

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record of the standard library's log."""
        if _current.get() in (self, None) and record.name.partition(".")[0] in _FOREIGN:
            event: Record = {
                "event": record.getMessage(),
                "level": record.levelname.lower(),
                "logger": record.name,
            }
            if record.exc_info:
                event["exc_info"] = record.exc_info
            self.records.append(structlog.processors.format_exc_info(None, record.levelname, event))
