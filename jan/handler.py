"""The base of all endpoints: identify, limit, decode, call, reply or stream, map errors to the wire."""

import asyncio
import re
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, ClassVar

import msgspec
import structlog
from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, RequestHandler, stream_request_body

from jan.access import check_access, check_scopes, identify, required_credential, user_of
from jan.auth.scopes import Identity, Scope
from jan.body import Body
from jan.conversations import Turn
from jan.engine.base import Delta, Event, Finished, GenerationRequest
from jan.engine.fanout import fan_out
from jan.errors import (
    InternalError,
    JanError,
    MethodNotAllowed,
    NotFound,
    Unavailable,
    envelope_of,
    error_for_status,
    status_of,
)
from jan.operation import Operation, operation_of
from jan.query import decode_query
from jan.services import Services
from jan.streaming import HEADERS, EventStream, error_frame, pump

__all__ = ["EventStream", "Handler", "Turn", "UnknownUrl"]

log = structlog.get_logger(__name__)

_REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{1,128}$")


@stream_request_body
class Handler(RequestHandler):
    """Extend this, declare methods with ``@operation``, name the class in the YAML route table."""

    #: The type of the route's ``options``; None if it takes none.
    Options: ClassVar[type[msgspec.Struct] | None] = None

    services: Services
    route_options: Any
    identity: Identity
    request_id = ""

    def initialize(self, services: Services, route_name: str = "unknown", route_options: Any = None) -> None:
        """Called by Tornado with what the route table says."""
        self.services = services
        self.route_options = route_options
        self.route_name = route_name
        self.began = time.perf_counter()
        #: What the request's line in the log says beside route, status and time.
        self.log_fields: dict[str, Any] = {}
        self._body = Body(self.request.headers, services.settings.server.max_body_bytes)
        self._work: asyncio.Task[None] | None = None
        self._shutting_down = False

    def set_default_headers(self) -> None:
        """The request id goes out on everything; a sane one of the client's is kept."""
        if not self.request_id:
            given = self.request.headers.get("X-Request-Id", "")
            self.request_id = given if _REQUEST_ID.match(given) else f"req_{secrets.token_hex(12)}"
        self.set_header("X-Request-Id", self.request_id)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.clear_header("Server")

    def prepare(self) -> None:
        """Refuse before the body is read: when shutting down, or a huge one."""
        if self.services.live.draining:
            raise self._shutdown_error()
        self._body.check_announced()

    def data_received(self, chunk: bytes) -> None:
        """A piece of the body."""
        self._body.add(chunk)

    # --- the operation ------------------------------------------------------------------------------

    async def serve(
        self, operation: Operation, method: Callable[..., Awaitable[Any]], path: dict[str, Any]
    ) -> None:
        """Run one declared operation, as a child task that the client's leaving or a shutdown cancels."""
        self.services.live.add(self)
        self._work = asyncio.ensure_future(self._run(operation, method, path))
        try:
            await asyncio.wait({self._work})
            if not self._work.cancelled():
                self._work.result()
            elif self._shutting_down:
                await self._fail(self._shutdown_error())
            else:
                self.log_fields["client_left"] = True
        finally:
            self.services.live.remove(self)

    async def _run(
        self, operation: Operation, method: Callable[..., Awaitable[Any]], path: dict[str, Any]
    ) -> None:
        self.identity = await identify(self.request, operation.access, self.services)
        if not self.identity.anonymous:
            self.log_fields["user"] = self.identity.user_id
            check_access(self.identity, operation.access)
        self._body.check()
        if operation.query is not None:
            path["query"] = decode_query(self.request.query_arguments, operation.query)
        if operation.request is not None:
            lines = operation.request_media_type == "application/jsonl"
            path["body"] = self._body.decode(operation.request, lines=lines)
        result = await method(self, **path)
        if isinstance(result, EventStream):
            await self._stream(result)
        elif result is not None:
            self.reply(result)

    @property
    def user_id(self) -> str:
        """The caller's; raises AuthenticationFailed for an anonymous one."""
        return user_of(self.identity)

    def require(self, *scopes: Scope) -> str:
        """For what a request asks for beyond its operation's access: the caller's ``user_id``, or raises
        AuthenticationFailed or PermissionDenied."""
        user_id = self.user_id
        check_scopes(self.identity, *scopes)
        return user_id

    def required_credential(self) -> str:
        """The token or API key of the Authorization header; raises AuthenticationFailed without one."""
        return required_credential(self.request)

    async def generate(
        self, model: str, requests: Sequence[GenerationRequest]
    ) -> AsyncGenerator[tuple[int, Event], None]:
        """Generate on a model: the events of all requests, each with its request's index.

        Raises NotFound for an unknown model, and what the engine refuses.
        """
        engine = await self.services.models.engine(model)
        metrics, name = self.services.metrics, self.services.models.get(model).id
        totals = {"model": name, "prompt_tokens": 0, "completion_tokens": 0, "cached_tokens": 0}
        self.log_fields.update(totals)
        async with aclosing(fan_out(engine, requests)) as events:
            async for index, event in events:
                if isinstance(event, Finished):
                    for field in ("prompt_tokens", "completion_tokens", "cached_tokens"):
                        self.log_fields[field] += getattr(event, field)
                        metrics.tokens.labels(name, field).inc(getattr(event, field))
                elif isinstance(event, Delta) and "first_token_ms" not in self.log_fields:
                    seconds = time.perf_counter() - self.began
                    metrics.first_token_seconds.labels(name).observe(seconds)
                    self.log_fields["first_token_ms"] = round(seconds * 1000)
                yield index, event

    # --- answers ------------------------------------------------------------------------------------

    def reply(self, result: msgspec.Struct) -> None:
        """Send a response object."""
        self.set_header("Content-Type", "application/json")
        self._set_timing()
        self.finish(msgspec.json.encode(result))

    async def _stream(self, stream: EventStream) -> None:
        try:
            await pump(
                stream.events,
                begin=self._begin_stream,
                write=self._write_now,
                comment=self._write_comment,
                keepalive_seconds=self.services.settings.server.keepalive_seconds,
            )
        except StreamClosedError:
            self.log_fields["client_left"] = True
        except Exception as error:
            if not self._headers_written:
                raise
            self.log_exception(type(error), error, error.__traceback__)
            await self._fail(self._explain(error))

    async def _fail(self, error: JanError) -> None:
        """Tell of an error: as a response, or as the last event of a stream that is under way."""
        if not self._headers_written:
            raise error
        self.log_fields["error"] = error.code
        await self._write_now(error_frame(error))

    def _begin_stream(self) -> None:
        for name, value in HEADERS:
            self.set_header(name, value)
        self._set_timing()

    async def _write_now(self, data: bytes) -> None:
        self.write(data)
        await self.flush()

    def _write_comment(self, data: bytes) -> None:
        self.write(data)
        self.flush()

    def _set_timing(self) -> None:
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

    # --- errors and the end -------------------------------------------------------------------------

    def on_connection_close(self) -> None:
        """The client left: stop working for it."""
        super().on_connection_close()  # ends the wait for the rest of a body
        if self._work is not None:
            self._work.cancel()

    def shut_down(self) -> None:
        """The grace period is over: end this request now."""
        self._shutting_down = True
        if self._work is not None:
            self._work.cancel()

    @staticmethod
    def _shutdown_error() -> Unavailable:
        return Unavailable("the server is shutting down", code="shutting_down", headers={"Connection": "close"})

    def _explain(self, error: BaseException | None) -> JanError:
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

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Every error response: the envelope, with the error's own status and headers."""
        error = self._explain(kwargs.get("exc_info", (None, None))[1])
        self.log_fields["error"] = error.code
        self.set_status(status_of(type(error)))
        for name, value in error.headers.items():
            self.set_header(name, value)
        if self._work is None:
            # Refused with its body unread; Tornado ends such a connection, and its client has to know.
            self.set_header("Connection", "close")
        self.reply(envelope_of(error))

    def on_finish(self) -> None:
        """One line and one count a request."""
        seconds = time.perf_counter() - self.began
        status, metrics = self.get_status(), self.services.metrics
        metrics.requests.labels(self.route_name, _method_label(self), str(status)).inc()
        metrics.request_seconds.labels(self.route_name).observe(seconds)
        log.info(
            "request",
            request_id=self.request_id,
            route=self.route_name,
            method=_method_label(self),
            status=status,
            ms=round(seconds * 1000, 1),
            **self.log_fields,
        )


class UnknownUrl(Handler):
    """Answers for every URL that the route table does not have."""

    def prepare(self) -> None:
        """404."""
        raise NotFound("there is no such URL here; /api/swagger/index.html lists what there is")


def _method_label(handler: Handler) -> str:
    """The method, from a closed set, so that a client can't make up metrics' labels."""
    method = handler.request.method or ""
    return method if method in handler.SUPPORTED_METHODS else "other"
