"""Parts of every response: request id, error envelope, allowed methods, and one line in the log."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import Any, ClassVar

import msgspec
import structlog
from tornado.http1connection import HTTP1Connection
from tornado.iostream import IOStream, StreamClosedError
from tornado.web import HTTPError

from jan.errors import (
    InternalError,
    InvalidRequest,
    JanError,
    MethodNotAllowed,
    drop_traceback,
    envelope_of,
    error_for_status,
    status_of,
)
from jan.generation.answering import Answering
from jan.http.outlet import send_at_once, takes_at_once
from jan.http.plain_response import PlainResponse
from jan.operation import Operation, operation_of
from jan.schema.errors import ErrorEnvelope
from jan.services import Services
from jan.telemetry.request_record import RequestRecord

log = structlog.get_logger(__name__)


class Responder(PlainResponse):
    """Answers requests of any kind."""

    services: Services
    #: The type of the bodies of errors.
    error_type: ClassVar[type[msgspec.Struct]] = ErrorEnvelope
    #: True while the body is unread. An early answer then has to close the connection.
    body_unread = True
    #: True once the request has reached its operation. Later calls of operations are plain calls in Python.
    dispatched = False
    #: The request's use of models, if any.
    answering: Answering | None = None
    #: The task that goes on with the request when its client leaves, if there is one.
    outliving_task: asyncio.Task[Any] | None = None

    def initialize(self, services: Services, route_name: str = "unknown", route_path: str = "") -> None:
        """Prepare for a request. Tornado calls this before anything else."""
        self.services = services
        self.route_name = route_name
        self.route_path = route_path or route_name
        self.began = time.perf_counter()
        #: Fields of the request's line in the log beside route, status and time.
        self.log_fields: dict[str, Any] = {}
        self._kept_headers = {}

    def prepare(self) -> None:
        """Refuse what no URL accepts. Raises InvalidRequest."""
        settings = self.services.settings.server
        for name, value in self.services.origins.headers(self.request):
            self.keep_header(name, value)
        if settings.tls is not None:
            self.keep_header("Strict-Transport-Security", "max-age=31536000")
        self.services.origins.check_host(self.request)
        if len(self.request.uri or "") > settings.max_url_bytes:
            message = f"The URL is too long; allowed: {settings.max_url_bytes} bytes."
            raise InvalidRequest(message, code="url_too_long")
        headers = list(self.request.headers.get_all())
        size = sum(len(name) + len(value) + 4 for name, value in headers)
        if len(headers) > settings.max_headers or size > settings.max_header_bytes:
            allowed = f"{settings.max_headers} headers of {settings.max_header_bytes} bytes in all"
            message = f"The headers are too many or too long; allowed: {allowed}."
            raise InvalidRequest(message, code="headers_too_large")

    @property
    def connection_stream(self) -> IOStream:
        """The stream of the connection's bytes."""
        assert isinstance(self.request.connection, HTTP1Connection)  # this server's connections always are
        return self.request.connection.stream

    @cached_property
    def address(self) -> str:
        """The client's address, behind trusted proxies."""
        request = self.request
        return self.services.proxies.exact(request.remote_ip or "", request.headers.get("X-Forwarded-For", ""))

    # --- the request --------------------------------------------------------------------------------

    def begin(self, path: Mapping[str, bytes]) -> None:
        """Begin once the headers are there, with the parameters of the path. A refusal is answered at once."""
        self._transforms = []
        self.path_args = []
        try:
            if self.request.method not in self.SUPPORTED_METHODS:
                raise HTTPError(405)
            self.path_kwargs = {name: self.decode_argument(value, name) for name, value in path.items()}
            self.prepare()
        except Exception as error:  # noqa: BLE001 - answered as any error of the request
            self._handle_request_exception(error)

    async def run(self) -> None:
        """Carry out the request, whose body has arrived."""
        try:
            method = getattr(self, (self.request.method or "").lower())
            working = method(**self.path_kwargs)
            if working is not None:
                await working
            if not self._finished:
                self.finish()
        except asyncio.CancelledError:
            if not self._finished:
                self.send_error(500)
            raise
        except Exception as error:  # noqa: BLE001 - answered as any error of the request
            self._handle_request_exception(error)
        finally:
            working = None  # break the reference cycle: a traceback holds this frame

    # --- answers ------------------------------------------------------------------------------------

    def reply(self, result: msgspec.Struct | msgspec.Raw) -> None:
        """Send a response object, or one that is already encoded."""
        self.set_header("Content-Type", "application/json")
        self.set_timing()
        body = msgspec.json.encode(result)
        if not self.body_unread and takes_at_once(self.request, self.connection_stream):
            self._send_here(body)
        else:
            self.finish(body)

    def _send_here(self, body: bytes) -> None:
        """Send a response in one system call. Tornado makes half a dozen futures for it."""
        self.set_header("Content-Length", str(len(body)))
        send_at_once(self.connection_stream, self.response_head() + body)
        self.finish()

    def set_timing(self) -> None:
        """Report the server's time so far in OpenAI's header."""
        self.set_header("openai-processing-ms", str(round((time.perf_counter() - self.began) * 1000)))

    def compute_etag(self) -> None:
        """Skip the ETag: nobody revalidates an answer, and hashing costs time."""

    # --- methods that every URL has -----------------------------------------------------------------

    @classmethod
    def operations(cls) -> dict[str, Operation]:
        """Return the declared operations by HTTP method in capitals."""
        found = {name: operation_of(getattr(cls, name.lower())) for name in cls.SUPPORTED_METHODS}
        return {name: declared for name, declared in found.items() if declared is not None}

    @classmethod
    def allowed_methods(cls) -> str:
        """Return the value of the Allow header."""
        declared = list(cls.operations())
        return ", ".join([*declared, *(["HEAD"] if "GET" in declared else []), "OPTIONS"])

    async def head(self, **path: Any) -> None:
        """Answer like GET, but without the body."""
        if "GET" not in self.operations():
            raise HTTPError(405)
        get: Callable[..., Awaitable[None]] = self.get  # type: ignore[assignment]  # an operation, so a coroutine
        await get(**path)

    def options(self, **_path: Any) -> None:
        """Answer with the allowed methods."""
        self.set_status(204)
        self.set_header("Allow", self.allowed_methods())
        for name, value in self.services.origins.preflight_headers(self.request, self.allowed_methods()):
            self.set_header(name, value)

    # --- errors and the end -------------------------------------------------------------------------

    def explain(self, error: BaseException | None) -> JanError:
        """Turn any exception into one of Jan's errors."""
        if isinstance(error, JanError):
            return error
        if not isinstance(error, HTTPError):
            return InternalError("The server failed to handle this request. Its log says why.")
        if error.status_code == 405:
            allowed = self.allowed_methods()
            message = f"This URL does not support {self.request.method[:32]}; allowed: {allowed}."
            return MethodNotAllowed(message, headers={"Allow": allowed})
        return error_for_status(error.status_code)(
            f"The request can't be served: {error.log_message or error.reason}."
        )

    @classmethod
    def error_body(cls, error: JanError, request_id: str) -> msgspec.Struct:
        """Make the body of an error response, of the type ``error_type``. ``request_id``: that of the response."""
        return envelope_of(error)

    def body_of(self, error: JanError) -> msgspec.Struct:
        """Make the body of this request's error response."""
        return self.error_body(error, self.request_id)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log only unexpected errors. The request's own line reports the others."""
        if not isinstance(value, JanError | HTTPError | StreamClosedError):
            log.error(
                "request failed", request_id=self.request_id, route=self.route_name, exc_info=(typ, value, tb)
            )

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Send an error response. If part of another response is already sent, close the connection instead.

        A regular end would make the part look complete.
        """
        if not self._headers_written:
            super().send_error(status_code, **kwargs)
            return
        self.log_fields["error"] = self.explain(kwargs.get("exc_info", (None, None))[1]).code
        self.connection_stream.close()
        if not self._finished:
            self.finish()

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Write the error envelope, with the error's own status and headers."""
        raised = kwargs.get("exc_info", (None, None))[1]
        error = self.explain(raised)
        self.log_fields["error"] = error.code
        self.set_status(status_of(type(error)))
        for name, value in error.headers.items():
            self.set_header(name, value)
        if self.body_unread:
            # Tornado closes a connection whose body is unread. The client must be informed.
            self.set_header("Connection", "close")
        self.reply(self.body_of(error))
        if raised is not None:
            drop_traceback(raised)

    def on_finish(self) -> None:
        """Log, count and trace the request.

        If its answer outlives it, log and trace wait for the answer's end, because its tokens are not known
        before.
        """
        seconds = time.perf_counter() - self.began
        self._count(self.get_status(), seconds)
        # Break the reference cycle: if the task fails, its exception holds the frames that led here.
        outliving, self.outliving_task = self.outliving_task, None
        if self.answering is not None:
            detached, self.answering.detached_task = self.answering.detached_task, None
            outliving = outliving or detached
        if outliving is None or outliving.done():
            self._report(seconds)
        else:
            outliving.add_done_callback(lambda _: self._report(seconds))

    def _report(self, seconds: float) -> None:
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
            client=self.services.addresses.shown(self.address),
            **self.log_fields,
        )

    def _count(self, status: int, seconds: float) -> None:
        metrics, route = self.services.metrics, self.route_name
        metrics.requests.labels(route, _method_label(self), str(status)).inc()
        metrics.request_seconds.labels(route).observe(seconds)
        if "error" in self.log_fields:
            metrics.errors.labels(route, self.log_fields["error"]).inc()
        for field, counter in (("client_left", metrics.clients_left), ("replayed", metrics.replays)):
            if field in self.log_fields:
                counter.labels(route).inc()

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
    """Return the method from a closed set, so that clients can't invent label values of metrics."""
    method = handler.request.method or ""
    return method if method in handler.SUPPORTED_METHODS else "other"
