"""Runs the declared operation of a request: identify, limit, decode, call, reply or stream."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from jan.audit.acts import Act, Actor, acting
from jan.auth.running import Permit
from jan.engine.base import PromptNotes
from jan.errors import AuthenticationFailed, InternalError, JanError, Unavailable
from jan.http.authenticate import address_of, check_access, identify, stranger
from jan.http.body import Body
from jan.http.copied_stream import StreamCopy, replayed
from jan.http.json_body import JsonLimits
from jan.http.query import decode_query
from jan.http.sse import EventStream
from jan.http.stream_responder import StreamResponder
from jan.idempotency.ids import IdSource
from jan.idempotency.once import KEY_HEADER, Asked, check_key
from jan.limits import Standing, request_headers, token_headers
from jan.operation import LimitClass, Operation
from jan.schema.documents import SentFile
from jan.schema.open_body import header_value
from jan.schema.scopes import Identity
from jan.services import Services

Limits = tuple[Standing, ...]


class Dispatcher(StreamResponder):
    """Runs the operation of a request: Tornado's side of ``jan.handler.Handler``."""

    route_options: Any
    identity: Identity
    #: What the request rests on: it ends when its credential does.
    permit: Permit
    #: The state of the caller's limits, for the headers.
    _requests_left: tuple[Standing, ...] = ()
    _tokens_left: tuple[Standing, ...] = ()
    #: Answers that are counted in the audit, and as what.
    refused_statuses = frozenset({401, 403})
    refused_act: Act = "request.refused"
    #: The source of ids and secrets for the objects that the request creates.
    mint = IdSource()

    def initialize(
        self, services: Services, route_name: str = "unknown", route_path: str = "", route_options: Any = None
    ) -> None:
        """Set the handler up from the route table. Tornado calls this."""
        super().initialize(services, route_name, route_path)
        self.route_options = route_options
        limits = services.settings.server
        # Nothing that belongs to a handler may refer back to it. Only the garbage collector would find such a
        # cycle, and it stops everything for tens of milliseconds. See docs/architecture.md.
        address = partial(address_of, self.request, services)
        json = JsonLimits(limits.max_json_depth, limits.max_json_members)
        self._body = Body(self.request.headers, limits.max_body_bytes, json, services.bodies, address)
        self._work: asyncio.Task[Any] | None = None
        self._ended_early = False
        # The error for the client of a request that the server ended early.
        self._ending: JanError | None = None
        # Names of what the request has and nothing here uses.
        self._ignored: list[str] = []

    def prepare(self) -> None:
        """Refuse before the body is read: during a shutdown, or if the body is far too large."""
        super().prepare()  # first, so that browsers may show this refusal to other sites' pages
        if self.services.live.draining:
            raise self._shutdown_error()
        self._body.check_announced()
        if self._body.is_announced:
            seconds = self.services.settings.server.body_timeout_seconds
            self._body.limit_time(seconds, self.connection_stream.close)

    def data_received(self, chunk: bytes) -> None:
        """Collect a piece of the body."""
        self._body.add(chunk)

    # --- the operation ------------------------------------------------------------------------------

    async def serve(
        self, operation: Operation, method: Callable[..., Awaitable[Any]], path: dict[str, Any]
    ) -> None:
        """Run one declared operation. It is cancelled when the client disconnects, the server shuts down or the
        caller's credential is revoked."""
        self.body_unread = False
        self.services.live.add(self)
        self._work = work = asyncio.current_task()
        try:
            await self._run(operation, method, path)
        except asyncio.CancelledError:
            if work is None or not self._ended_early:
                raise
            self._work = None
            while work.cancelling():
                work.uncancel()
            if self._ending is None:
                self.log_fields["client_left"] = True
            else:
                await self.fail(self._ending)
        finally:
            self._work = None
            self.services.live.remove(self)
            self.services.running.remove(self)

    async def _run(
        self, operation: Operation, method: Callable[..., Awaitable[Any]], path: dict[str, Any]
    ) -> None:
        await self._admit(operation)
        self._body.complete()
        if operation.query is not None:
            path["query"] = decode_query(self.request.query_arguments, operation.query)
        if operation.request is SentFile:
            path["body"] = self._body.file()
        elif operation.request is not None:
            lines = operation.request_media_type == "application/jsonl"
            path["body"] = await self._body.read(operation.request, lines=lines)
            if KEY_HEADER not in self.request.headers:
                self._body.release()  # the answer may take minutes
        result = await self._call(operation, partial(method, self, **path))
        if isinstance(result, EventStream):
            await self.stream(result)
        elif result is not None:
            self.reply(result)

    async def _admit(self, operation: Operation) -> None:
        """Identify the caller and check access and limits."""
        try:
            self.identity = await identify(self.request, operation.access, self.services)
        except AuthenticationFailed:
            # Callers with wrong credentials are counted by address. Callers with right ones at the same address
            # are not held back.
            await self._limit(stranger(self.request, self.services), operation.limit, tried=True)
            raise
        acting.set(self._actor())
        if not self.identity.anonymous:
            self._log_caller(self.identity)
        await self._limit(self.identity, operation.limit)
        if not self.identity.anonymous:
            check_access(self.identity, operation.access, self.path_kwargs)
        scope = operation.access.scope
        needs = () if scope is None or operation.access.to_itself else (scope,)
        self.permit = Permit(self.identity, needs, outlives=operation.ends_credentials)
        self.services.running.add(self, self.permit)

    def _actor(self) -> Actor:
        """Return who acts by this request, for the audit."""
        identity = getattr(self, "identity", None)
        if identity is None:
            return Actor(address=self.address)
        return Actor(identity.user_id, identity.key_id or identity.session_id, self.address)

    def _log_caller(self, identity: Identity) -> None:
        self.log_fields["user"] = identity.user_id
        if identity.key_id is not None:
            self.log_fields["key_id"] = identity.key_id
        if identity.session_id is not None:
            self.log_fields["session_id"] = identity.session_id

    async def _limit(self, identity: Identity, limit: LimitClass, *, tried: bool = False) -> None:
        """Count the request and report the state of limits in its headers. Raises RateLimited."""
        if limit == "none":
            return
        verdict = await self.services.limiter.admit(identity, "default" if tried else limit)
        self._requests_left, self._tokens_left = verdict.requests, verdict.tokens
        if verdict.refusal is not None:
            raise verdict.refusal

    async def _call(self, operation: Operation, call: Callable[[], Awaitable[Any]]) -> Any:
        """Return the method's result. With an Idempotency-Key, what it creates is created only once, and a
        stream is sent here."""
        key = self.request.headers.get(KEY_HEADER)
        if key is None:
            return await call()
        if operation.creates:
            check_key(key)
        if not operation.creates or (self.identity.anonymous and operation.limit == "inference"):
            self.ignore(KEY_HEADER)  # of strangers nothing is stored
            return await call()
        asked = Asked(
            owner=self.identity.owner,
            operation=f"{operation.name} {self.route_name}",
            key=key,
            content=(self._credentials(), self.path_kwargs, self._body.data),
            about=self.path_kwargs.get("conversation_id"),
            user_id=self.identity.user_id,
        )
        try:
            given = await self.services.idempotency.once(asked, partial(self._carry_out, call))
        except JanError:
            if self.streaming:
                return None  # its last event says it
            raise
        if given.replayed:
            self.log_fields["replayed"] = True
            self.set_header("Idempotent-Replayed", "true")
        elif self.streaming:
            return None
        return replayed(given.body) or msgspec.Raw(given.body)

    async def _carry_out(self, call: Callable[[], Awaitable[Any]], mint: IdSource) -> bytes:
        """Return the method's result as it is kept. A stream is sent meanwhile."""
        self.mint, self.outliving_task = mint, asyncio.current_task()
        with self.services.running.current_task(self.permit):
            result = await call()
            if not isinstance(result, EventStream):
                return msgspec.json.encode(result)
            await self.stream(result, copy := StreamCopy())
        if not copy.complete:
            raise InternalError("The stream ended early.")
        return copy.packed()

    def _credentials(self) -> tuple[Any, ...]:
        """Return the rights of the caller's credentials. A stored answer may hold a key's secret, so weaker
        credentials must not get it."""
        identity = self.identity
        budgets = [account.budget for account in identity.accounts]
        return sorted(identity.scopes), identity.expires_at, identity.key_id is not None, budgets

    def complete_headers(self) -> None:
        """Report the state of the caller's limits in the headers."""
        tokens_left = (self.answering and self.answering.standings) or self._tokens_left
        if self._requests_left or tokens_left:
            now = self.services.limiter.clock()
            for name, value in self.limit_headers(self._requests_left, tokens_left, now):
                self.keep_header(name, value)
        self._report_left_out()
        super().complete_headers()

    def limit_headers(self, requests: Limits, tokens: Limits, now: int) -> Sequence[tuple[str, str]]:
        """Make the headers about the limits of requests and tokens. ``now`` is in milliseconds since 1970."""
        return request_headers(requests, now) + token_headers(tokens, now)

    def ignore(self, *names: str) -> None:
        """Name in a header parts of the request that nothing here uses."""
        self._ignored += names

    def _report_left_out(self) -> None:
        """Name in the headers and the log what was left out of the request or of its output format."""
        notes = PromptNotes() if self.answering is None else self.answering.notes
        if ignored := (*self._body.ignored, *self._ignored, *notes.ignored):
            self.log_fields["ignored"] = header_value(ignored)
            self.keep_header("X-Jan-Ignored", header_value(ignored))
        if notes.relaxed:
            self.log_fields["relaxed"] = header_value(notes.relaxed)
            self.keep_header("X-Jan-Relaxed", header_value(notes.relaxed))

    # --- the end ------------------------------------------------------------------------------------

    def on_connection_close(self) -> None:
        """Stop the work for a client that has disconnected."""
        self._body.release()
        self._end_early()

    def on_finish(self) -> None:
        """Release the request's resources after its answer was sent."""
        self._body.release()
        super().on_finish()
        self.note_refusal(self.get_status())

    def note_refusal(self, status: int) -> None:
        """Count an answer with this status in the audit, if it is a refusal."""
        if status in self.refused_statuses:
            client = address_of(self.request, self.services).removeprefix("ip:")
            code = self.log_fields.get("error", "")
            self.services.audit.refused(self.refused_act, client, self._actor(), code)

    def shut_down(self) -> None:
        """End this request now, because the grace period is over."""
        self.end(self._shutdown_error())

    def end(self, error: JanError) -> None:
        """End this request now, with an error for its client."""
        self._ending = self._ending or error
        self._end_early()

    def _end_early(self) -> None:
        if self._work is not None:
            self._ended_early = True
            self._work.cancel()

    @staticmethod
    def _shutdown_error() -> Unavailable:
        return Unavailable(
            "The server is shutting down. Try again later.", code="shutting_down", headers={"Connection": "close"}
        )
