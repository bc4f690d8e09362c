"""PyMongo's errors in the house's words."""

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

from jan.errors import Conflict, InternalError, JanError, PayloadTooLarge, Unavailable, when_to_retry

_DUPLICATE = 11000
_AWAY = (ConnectionFailure, ExecutionTimeout, InvalidOperation, WaitQueueTimeoutError, OperationFailure)


# Not all of the driver's errors are PyMongo's own: what can't be encoded, a document that is too large among it,
# is refused with BSON's or Python's, before anything is sent.
DRIVER_ERRORS = (PyMongoError, BSONError, OverflowError)


def translate(error: Exception) -> JanError:
    """The error to raise for one of the driver's; it tells a client nothing of hosts or queries."""
    if isinstance(error, DuplicateKeyError):
        return _conflict(error.details or {})
    if isinstance(error, BulkWriteError):
        failures = error.details.get("writeErrors", [])
        if failures and failures[0].get("code") == _DUPLICATE:
            return _conflict(failures[0])
    if isinstance(error, DocumentTooLarge):
        return PayloadTooLarge("This is more than the store takes as one object.")
    # The driver's own text names hosts but never credentials.
    structlog.get_logger(__name__).error(
        "store failed", backend="mongodb", reason=type(error).__name__, detail=str(error)
    )
    if isinstance(error, _AWAY) or (isinstance(error, PyMongoError) and error.timeout):
        return unavailable()
    return InternalError("The store failed.")


def unavailable() -> Unavailable:
    """The error while the server is away, is electing a primary or does not answer in time."""
    message = "The store can't serve this at the moment; try again."
    return Unavailable(message, code="storage_unavailable", headers=when_to_retry(5000))


def _conflict(details: Mapping[str, Any]) -> Conflict:
    pattern = details.get("keyPattern")
    field = next(iter(pattern)) if isinstance(pattern, dict) and pattern else None
    param = None if field is None else str(field).partition(".")[0].lstrip("_")
    return Conflict("An object like this exists already.", param=param, code="already_exists")
