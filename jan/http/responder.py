"""What every response has in common: request id, envelope for errors, allowed methods, one line in the log."""

import asyncio
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog
from tornado.http1connection import HTTP1Connection
from tornado.iostream import IOStream, StreamClosedError
from tornado.web import HTTPError, RequestHandler

from jan.errors import (
    InternalError,
    InvalidRequest,
    JanError,
    MethodNotAllowed,
    envelope_of,
    error_for_status,
    let_go,
    status_of,
)
from jan.generation.answering import Answering
from jan.operation import Operation, operation_of
from jan.services import Services
from jan.telemetry.request_record import RequestRecord

log = structlog.get_logger(__name__)

_REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{1,128}$")


class Responder(RequestHandler):
    """How requests are answered, whatever they ask for."""

    services: Services
    request_id = ""
    #: Whether the request is answered before its body was read, so that its connection can't go on.
    body_unread = True
    #: Whether the request has reached its operation; calls of operations from then on are Python's.
    dispatched = False
    #: What the request did with models, if anything.
    answering: Answering | None = None

    def initialize(self, services: Services, route_name: str = "unknown", route_path: str = "") -> None:
        """Called by Tornado before anything else."""
        self.services = services
        self.route_name = route_name
        self.route_path = route_path or route_name
        self.began = time.perf_counter()
        #: What the request's line in the log says beside route, status and time.
        self.log_fields: dict[str, Any] = {}
        self._kept_headers: dict[str, str] = {}

    def set_default_headers(self) -> None:
        """The request id goes out on everything; a sane one of the client's is kept."""
        if not self.request_id:
            given = self.request.headers.get("X-Request-Id", "")
            self.request_id = given if _REQUEST_ID.match(given) else f"req_{secrets.token_hex(12)}"
        self.set_header("X-Request-Id", self.request_id)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.clear_header("Server")

    def keep_header(self, name: str, value: str) -> None:
        """Set a header that stays whatever becomes of the response; an error clears the others."""
        self._kept_headers[name] = value

    def complete_headers(self) -> None:
        """Set what is not known before the headers go out."""
        for name, value in self._kept_headers.items():
            self.set_header(name, value)

    def flush(self, include_footers: bool = False) -> "asyncio.Future[None]":
        """Send what was written, after the headers if they are not out yet."""
        if not self._headers_written:
            self.complete_headers()
        return super().flush(include_footers)

    def prepare(self) -> None:
        """Refuse, before anything else, what no URL takes: raises InvalidRequest."""
        settings = self.services.settings.server
        for name, value in self.services.origins.headers(self.request):
            self.keep_header(name, value)
        if settings.tls is not None:
            self.keep_header("Strict-Transport-Security", "max-age=31536000")
        self.services.origins.check_host(self.request)
        if len(self.request.uri or "") > settings.max_url_bytes:
            message = f"the URL is longer than the {settings.max_url_bytes} bytes that this server takes"
            raise InvalidRequest(message, code="url_too_long")
        headers = list(self.request.headers.get_all())
        size = sum(len(name) + len(value) + 4 for name, value in headers)
        if len(headers) > settings.max_headers or size > settings.max_header_bytes:
            allowed = f"{settings.max_headers} headers of {settings.max_header_bytes} bytes in all"
            message = f"the headers are too many or too long; this server takes {allowed}"
            raise InvalidRequest(message, code="headers_too_large")

    @property
    def connection_stream(self) -> IOStream:
        """What the connection's bytes go through."""
        assert isinstance(self.request.connection, HTTP1Connection)  # what this server's connections are
        return self.request.connection.stream

    # --- answers ------------------------------------------------------------------------------------

    def reply(self, result: msgspec.Struct | msgspec.Raw) -> None:
        """Send a response object, or one that is encoded already."""
        self.set_header("Content-Type", "application/json")
        self.set_timing()
        self.finish(msgspec.json.encode(result))

    def set_timing(self) -> None:
        """How long the server took so far, as OpenAI tells it."""
        self.set_header("openai-processing-ms", str(round((time.perf_counter() - self.began) * 1000)))

    def compute_etag(self) -> None:
        """No ETag: nobody revalidates an answer, and hashing it costs time."""

    # --- methods that every URL has -----------------------------------------------------------------

    @classmethod
    def operations(cls) -> dict[str, Operation]:
        """The declared operations by HTTP method, in capitals."""
        found = {name: operation_of(getattr(cls, name.lower())) for name in cls.SUPPORTED_METHODS}
        return {name: declared for name, declared in found.items() if declared is not None}

    @classmethod
    def allowed_methods(cls) -> str:
        """For the Allow header."""
        declared = list(cls.operations())
        return ", ".join([*declared, *(["HEAD"] if "GET" in declared else []), "OPTIONS"])

    async def head(self, **path: Any) -> None:
        """Like GET, without the body."""
        if "GET" not in self.operations():
            raise HTTPError(405)
        get: Callable[..., Awaitable[None]] = self.get  # type: ignore[assignment]  # an operation, so a coroutine
        await get(**path)

    def options(self, **_path: Any) -> None:
        """Which methods there are."""
        self.set_status(204)
        self.set_header("Allow", self.allowed_methods())
        for name, value in self.services.origins.preflight_headers(self.request, self.allowed_methods()):
            self.set_header(name, value)

    # --- errors and the end -------------------------------------------------------------------------

    def explain(self, error: BaseException | None) -> JanError:
        """Any exception as one of ours."""
        if isinstance(error, JanError):
            return error
        if not isinstance(error, HTTPError):
            return InternalError("the server failed to handle this request; its log says why")
        if error.status_code == 405:
            allowed = self.allowed_methods()
            message = f"this URL does not take {self.request.method[:32]}; allowed: {allowed}"
            return MethodNotAllowed(message, headers={"Allow": allowed})
        return error_for_status(error.status_code)(
            f"the request can't be served: {error.log_message or error.reason}"
        )

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Only what we did not raise on purpose is news; the rest is in the request's own line."""
        if not isinstance(value, JanError | HTTPError | StreamClosedError):
            log.error(
                "request failed", request_id=self.request_id, route=self.route_name, exc_info=(typ, value, tb)
            )

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """An error response. Where a part of another one is out already, the connection is cut instead: ended in
        order, the part would look like the whole."""
        if not self._headers_written:
            super().send_error(status_code, **kwargs)
            return
        self.log_fields["error"] = self.explain(kwargs.get("exc_info", (None, None))[1]).code
        self.connection_stream.close()
        if not self._finished:
            self.finish()

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Every error response: the envelope, with the error's own status and headers."""
        told = kwargs.get("exc_info", (None, None))[1]
        error = self.explain(told)
        self.log_fields["error"] = error.code
        self.set_status(status_of(type(error)))
        for name, value in error.headers.items():
            self.set_header(name, value)
        if self.body_unread:
            # Refused with its body unread; Tornado ends such a connection, and its client has to know.
            self.set_header("Connection", "close")
        self.reply(envelope_of(error))
        if told is not None:
            let_go(told)

    def on_finish(self) -> None:
        """One line and one count a request, and its trace; where an answer goes on, line and trace wait for its
        end, since what it took is not known before."""
        seconds = time.perf_counter() - self.began
        self._count(self.get_status(), seconds)
        going_on = None
        if self.answering is not None:
            # Let go of: if it fails it leads to the frames that led to this.
            going_on, self.answering.going_on = self.answering.going_on, None
        if going_on is None or going_on.done():
            self._tell(seconds)
        else:
            going_on.add_done_callback(lambda _: self._tell(seconds))

    def _tell(self, seconds: float) -> None:
        status = self.get_status()
        if self.services.tracing is not None:
            self.log_fields["trace_id"] = self.services.tracing.record(self._observed(status))
        if self.answering is not None and self.answering.record is not None:
            self.log_fields.update(self.answering.record.log_fields())
        log.info(
            "request",
            request_id=self.request_id,
            route=self.route_name,
            method=_method_label(self),
            status=status,
            ms=round(seconds * 1000, 1),
            **self.log_fields,
        )

    def _count(self, status: int, seconds: float) -> None:
        metrics, route = self.services.metrics, self.route_name
        metrics.requests.labels(route, _method_label(self), str(status)).inc()
        metrics.request_seconds.labels(route).observe(seconds)
        if "error" in self.log_fields:
            metrics.errors.labels(route, self.log_fields["error"]).inc()
        if "client_left" in self.log_fields:
            metrics.clients_left.labels(route).inc()
        if "replayed" in self.log_fields:
            metrics.replays.labels(route).inc()

    def _observed(self, status: int) -> RequestRecord:
        return RequestRecord(
            request_id=self.request_id,
            method=_method_label(self),
            scheme=self.request.protocol,
            route=self.route_path,
            status=status,
            began=self.began,
            error=self.log_fields.get("error"),
            client_left="client_left" in self.log_fields,
            trace_parent=self.request.headers.get("traceparent"),
            trace_state=self.request.headers.get("tracestate"),
            generation=None if self.answering is None else self.answering.record,
        )


def _method_label(handler: Responder) -> str:
    """The method, from a closed set, so that a client can't make up metrics' labels."""
    method = handler.request.method or ""
    return method if method in handler.SUPPORTED_METHODS else "other"
