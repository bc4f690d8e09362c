"""Declare an HTTP method once with ``@operation``: that validates, documents and audits it."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from types import MappingProxyType
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar

import msgspec

from jan.errors import JanError
from jan.schema.scopes import Access

MediaType = Literal["application/json", "application/jsonl", "multipart/form-data"]
#: default: counts towards the caller's limit. inference: counts towards the limit of the models too. none: is not
#: counted.
LimitClass = Literal["default", "inference", "none"]


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """A request that works as printed: a test replays every example of the document. ``body`` is a text where it
    is not JSON, ``path`` has the path's parameters."""

    summary: str
    body: dict[str, Any] | str | None = None
    path: dict[str, str] = {}


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """The declaration of one HTTP method of one URL: what it takes and returns, and who may call it.

    ``request``, ``response``: msgspec types, or None for no body. ``query``: a struct whose fields are the query
    parameters, None where the query is ignored. ``events``: the type of a streamed answer's events, sent as
    ``events_media_type``.
    ``request_media_type``: application/jsonl for a body of lines, each of type ``request``; multipart/form-data
    for a ``SentFile``.
    ``media_type``: the response's, where it is not JSON. ``redirect``: the target in words, for a method that may
    answer with a 302; it always does so if it has no ``response``. ``limit``: the limit class.
    ``creates``: the method makes an object or an answer, so a request with an Idempotency-Key is carried out once.
    ``ends_credentials``: the method may end the caller's own credential, and must still answer then. ``headers``:
    other request headers that it reads, and what they mean.
    """

    name: str
    summary: str
    description: str
    access: Access
    tag: str = "general"
    query: type[msgspec.Struct] | None = None
    request: Any = None
    request_media_type: MediaType = "application/json"
    response: Any = None
    events: Any = None
    events_media_type: str = "text/event-stream"
    media_type: str = "application/json"
    redirect: str = ""
    limit: LimitClass = "default"
    creates: bool = False
    ends_credentials: bool = False
    headers: Mapping[str, str] = MappingProxyType({})
    errors: tuple[type[JanError], ...] = ()
    examples: tuple[Example, ...] = ()


class Serves(Protocol):
    """A handler, as ``@operation`` sees it. ``dispatched``: whether its request has reached an operation."""

    dispatched: bool

    async def serve(
        self, operation: Operation, method: Callable[..., Awaitable[Any]], path: dict[str, Any]
    ) -> None:
        """Check, decode, call the method, reply."""
        ...


P = ParamSpec("P")
R = TypeVar("R")
H = TypeVar("H", bound=Serves)

_ATTRIBUTE = "__jan_operation__"


def operation(
    *, summary: str, access: Access, **declared: Any
) -> Callable[[Callable[Concatenate[H, P], Awaitable[R]]], Callable[..., Awaitable[Any]]]:
    """Declare an HTTP method of a handler; the other keywords are those of Operation.

    The method gets the path's parameters by name, the decoded body as ``body`` if it has a ``request`` type, and
    the query parameters as ``query`` if it has a type for them. It returns the response, or an EventStream.

    Python may call it as it is written: ``await super().post(body)`` in a subclass runs the method of the parent
    and returns its response. Only the first call of a request, which is the web server's, checks access and
    replies.
    """

    def decorate(method: Callable[Concatenate[H, P], Awaitable[R]]) -> Callable[..., Awaitable[Any]]:
        declaration = Operation(
            name=method.__name__,
            summary=summary,
            description=inspect.cleandoc(method.__doc__ or ""),
            access=access,
            **declared,
        )

        @wraps(method)
        def call(self: H, *args: Any, **named: Any) -> Awaitable[Any]:
            if self.dispatched:
                return method(self, *args, **named)
            self.dispatched = True
            return self.serve(declaration, method, named)

        setattr(call, _ATTRIBUTE, declaration)
        return call

    return decorate


def operation_of(method: Any) -> Operation | None:
    """Return the declaration of a method, None if it has none."""
    found = getattr(method, _ATTRIBUTE, None)
    return found if isinstance(found, Operation) else None
