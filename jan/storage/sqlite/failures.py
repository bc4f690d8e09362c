"""Translates SQLite's errors into Jan's."""

import sqlite3
from pathlib import Path

import structlog

from jan.errors import ConfigurationError, Conflict, InternalError, JanError, Unavailable, retry_headers

_RETRY = retry_headers(2000)
# An administrator has to act first, so retrying soon is pointless.
_RETRY_WHEN_FULL = retry_headers(60_000)


def translate(error: sqlite3.Error) -> JanError:
    """Return the error to raise for one of the driver's. It shows a client no paths and no SQL."""
    if isinstance(error, sqlite3.IntegrityError):
        return Conflict("An object with this value already exists.", param=_column(error), code="already_exists")
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    structlog.get_logger(__name__).error("store failed", backend="sqlite", reason=name, detail=str(error))
    if name == "SQLITE_FULL":
        message = "The store's disk is full. Nothing can be stored until its administrator makes room."
        return Unavailable(message, code="storage_full", headers=_RETRY_WHEN_FULL)
    if isinstance(error, sqlite3.OperationalError) or type(error) is sqlite3.DatabaseError:
        message = "The store can't serve this at the moment. Try again later."
        return Unavailable(message, code="storage_unavailable", headers=_RETRY)
    return InternalError("The store failed. The server's log says why.")


def translate_opening(error: sqlite3.Error, path: Path) -> JanError:
    """Return the error to raise for one met while opening, with details for the operator."""
    if getattr(error, "sqlite_errorname", "") == "SQLITE_NOTADB":
        return ConfigurationError(f"storage.url: {path} is not an SQLite database.")
    return translate(error)


def _column(error: sqlite3.IntegrityError) -> str | None:
    """Return the column named in "UNIQUE constraint failed: users.email"."""
    return str(error).rpartition(".")[2] if "UNIQUE" in str(error) else None
