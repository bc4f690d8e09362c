"""Every error that Jan raises on purpose, and the table that maps it to HTTP.

JanError
├── ConfigurationError      a mistake in the configuration: at start-up only, never on the wire
├── InvalidRequest          400
├── AuthenticationFailed    401
├── PermissionDenied        403
├── NotFound                404
├── MethodNotAllowed        405
├── Conflict                409
├── PayloadTooLarge         413
├── UnsupportedMediaType    415
├── RateLimited             429
├── InternalError           500
└── Unavailable             503
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from jan.schema.errors import ErrorDetail, ErrorEnvelope


class JanError(Exception):
    """An error that a client or an operator reads.

    - ``message``: a sentence that says what was wrong, where, and what is allowed.
    - ``code``: a stable string for programs.
    - ``param``: the wrong field of the request.
    - ``headers``: sent with the response.
    """

    default_code = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.param = param
        self.headers: Mapping[str, str] = headers or {}


class ConfigurationError(JanError):
    """The server can't start as configured. The message has one line for each mistake, with file, path and allowed
    values."""

    default_code = "configuration_error"

    def under(self, path: str) -> "ConfigurationError":
        """Return the same error with a path before each line."""
        return ConfigurationError("\n".join(f"{path}: {line}" for line in self.message.splitlines()))


class Mistakes:
    """Collects ConfigurationErrors, so that one mistake in a configuration hides no other."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, line: str) -> None:
        """Note one mistake; ``line`` is its message."""
        self._lines.append(line)

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Note the ConfigurationError that is raised within, and go on behind."""
        try:
            yield
        except ConfigurationError as error:
            self._lines += error.message.splitlines()

    def raise_any(self) -> None:
        """Raise one ConfigurationError with every mistake, if there was any."""
        if self._lines:
            raise ConfigurationError("\n".join(self._lines))


class InvalidRequest(JanError):
    """The request can't be served as sent."""

    default_code = "invalid_request"


class AuthenticationFailed(JanError):
    """The credentials are missing or were not accepted."""

    default_code = "invalid_api_key"


class PermissionDenied(JanError):
    """The caller is known but may not do this."""

    default_code = "insufficient_permissions"


class NotFound(JanError):
    """The URL, model or object does not exist, or this caller may not see it."""

    default_code = "not_found"


class MethodNotAllowed(JanError):
    """The URL exists but does not support this HTTP method."""

    default_code = "method_not_allowed"


class Conflict(JanError):
    """The object already exists or was changed meanwhile."""

    default_code = "conflict"


class PayloadTooLarge(JanError):
    """The body is larger than the server accepts."""

    default_code = "body_too_large"


class UnsupportedMediaType(JanError):
    """The body's type or encoding is not supported."""

    default_code = "unsupported_media_type"


class RateLimited(JanError):
    """The caller has used up a limit."""

    default_code = "rate_limit_exceeded"


class InternalError(JanError):
    """A fault of the server itself. Details are in its log and not in the message."""


class Unavailable(JanError):
    """The server, a model or the store can't serve the request at the moment."""

    default_code = "unavailable"


# The only place that spells out status codes and OpenAI's error types.
_WIRE: Mapping[type[JanError], tuple[int, str]] = MappingProxyType(
    {
        InvalidRequest: (400, "invalid_request_error"),
        AuthenticationFailed: (401, "authentication_error"),
        PermissionDenied: (403, "permission_error"),
        NotFound: (404, "invalid_request_error"),
        MethodNotAllowed: (405, "invalid_request_error"),
        Conflict: (409, "invalid_request_error"),
        PayloadTooLarge: (413, "invalid_request_error"),
        UnsupportedMediaType: (415, "invalid_request_error"),
        RateLimited: (429, "rate_limit_error"),
        Unavailable: (503, "service_unavailable_error"),
        JanError: (500, "server_error"),
    }
)


def wrong_value(message: str, param: str | None) -> InvalidRequest:
    """Make the error for a value of a request that is not allowed."""
    return InvalidRequest(message, code="invalid_value", param=param)


def drop_traceback(error: BaseException) -> None:
    """Break the reference cycle of an error that has been reported.

    Its traceback holds the frames that it passed through, and with them the request and its body. Only the garbage
    collector would find this cycle. See "No reference cycles behind a request" in docs/architecture.md.
    """
    link: BaseException | None = error
    while link is not None:
        link.__traceback__ = None
        link = link.__context__


def retry_headers(milliseconds: int, *, by_itself: bool = True) -> dict[str, str]:
    """Make the headers that say when to retry: HTTP's (RFC 9110 10.2.3), and those of OpenAI's SDKs.

    ``by_itself``: let an SDK retry without being told to.
    """
    return {
        "Retry-After": str(math.ceil(milliseconds / 1000)),
        "retry-after-ms": str(milliseconds),
        "x-should-retry": "true" if by_itself else "false",
    }


def wire_of(error_type: type[JanError]) -> tuple[int, str]:
    """Return the HTTP status and OpenAI error type of an error class. Subclasses inherit their parent's."""
    return next(_WIRE[base] for base in error_type.__mro__ if base in _WIRE)


def status_of(error_type: type[JanError]) -> int:
    """Return the HTTP status of an error class."""
    return wire_of(error_type)[0]


def envelope_of(error: JanError) -> ErrorEnvelope:
    """Make the response body that reports this error to a client."""
    _, kind = wire_of(type(error))
    return ErrorEnvelope(ErrorDetail(message=error.message, type=kind, param=error.param, code=error.code))


def error_for_status(status: int) -> type[JanError]:
    """Return the error class of an HTTP status, for errors that another library raised by number."""
    for error_type, (known, _) in _WIRE.items():
        if known == status:
            return error_type
    return InvalidRequest if 400 <= status < 500 else InternalError
