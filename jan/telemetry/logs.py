"""Sets structlog up: JSON for machines, readable on a terminal, and without secrets."""

import json
import logging
import sys
from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any

import msgspec
import structlog

from jan.settings import LogSettings

# Parts of names of fields that must never be logged, whoever passes them.
_SECRET = ("authorization", "api_key", "token", "secret", "password", "cookie", "prompt", "messages", "body")
# Suffixes of fields that only measure such things.
_MEASURES = ("_tokens", "_ms")


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace the values of fields that may hold secrets or people's texts."""
    for key in event:
        if _is_secret(key):
            event[key] = "[redacted]"
    return event


@lru_cache(1024)
def _is_secret(key: str) -> bool:
    return not key.endswith(_MEASURES) and any(word in key.lower() for word in _SECRET)


def _as_json(event: Any, **_options: Any) -> str:
    """Encode a line several times as fast as ``json`` does; a request's line is part of its cost."""
    try:
        return msgspec.json.encode(event, enc_hook=repr).decode()
    except UnicodeEncodeError:  # a name of a file may be no Unicode
        return json.dumps(event, default=repr)


def configure_logging(settings: LogSettings) -> None:
    """Send structlog and the standard library's log to standard error, in one format."""
    as_json = settings.format == "json" or (settings.format == "auto" and not sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        redact,
    ]
    # The default traceback prints every local variable if rich is installed.
    plain = structlog.dev.plain_traceback
    last: list[Any] = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    if as_json:
        last = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_as_json)]
    level = getattr(logging, settings.level.upper())
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)
    logging.captureWarnings(True)
