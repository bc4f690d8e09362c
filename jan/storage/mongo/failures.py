"""Translates PyMongo's errors into Jan's."""

from collections.abc import Mapping
from typing import Any

import structlog
from bson.errors import BSONError
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    DocumentTooLarge,
    DuplicateKeyError,
    ExecutionTimeout,
    InvalidOperation,
    OperationFailure,
    PyMongoError,
    WaitQueueTimeoutError,
)

from jan.errors import Conflict, InternalError, JanError, PayloadTooLarge, Unavailable, retry_headers

_DUPLICATE = 11000
_AWAY = (ConnectionFailure, ExecutionTimeout, InvalidOperation, WaitQueueTimeoutError, OperationFailure)


# The driver also raises BSON's and Python's errors, before anything is sent, if a document can't be encoded or is
# too large.
DRIVER_ERRORS = (PyMongoError, BSONError, OverflowError)


def translate(error: Exception) -> JanError:
    """Return the error to raise for one of the driver's. It shows a client no hosts and no queries."""
    if isinstance(error, DuplicateKeyError):
        return _conflict(error.details or {})
    if isinstance(error, BulkWriteError):
        failures = error.details.get("writeErrors", [])
        if failures and failures[0].get("code") == _DUPLICATE:
            return _conflict(failures[0])
    if isinstance(error, DocumentTooLarge):
        return PayloadTooLarge("The object is larger than the store accepts.")
    # The driver's own text names hosts but never credentials.
    structlog.get_logger(__name__).error(
        "store failed", backend="mongodb", reason=type(error).__name__, detail=str(error)
    )
    if isinstance(error, _AWAY) or (isinstance(error, PyMongoError) and error.timeout):
        return unavailable()
    return InternalError("The store failed. The server's log says why.")


def unavailable() -> Unavailable:
    """Make the error for a store that is unreachable, electing a primary or too slow."""
    message = "The store can't serve this at the moment. Try again later."
    return Unavailable(message, code="storage_unavailable", headers=retry_headers(5000))


def _conflict(details: Mapping[str, Any]) -> Conflict:
    pattern = details.get("keyPattern")
    field = next(iter(pattern)) if isinstance(pattern, dict) and pattern else None
    param = None if field is None else str(field).partition(".")[0].lstrip("_")
    return Conflict("An object with this value already exists.", param=param, code="already_exists")
