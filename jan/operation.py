"""``@operation``: the one declaration on an HTTP method that validates, documents and audits it."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from types import MappingProxyType
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar

import msgspec

from jan.errors import JanError
from jan.schema.scopes import Access

MediaType = Literal["application/json", "application/jsonl"]
#: default: counts towards the caller's limit; inference: towards that of the models too; none: not at all.
LimitClass = Literal["default", "inference", "none"]


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """A request that works as printed; every example of the document is replayed by a test. ``body`` is a
    text where it is not JSON."""

    summary: str
    body: dict[str, Any] | str | None = None
    path: dict[str, str] = {}


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """What one HTTP method of one URL takes, gives, and who may call it.

    ``request``, ``response``: msgspec types, or None for no body. ``query``: a struct whose fields are the
    query parameters; None where the query means nothing. ``events``: the type of a streamed answer's events.
    ``request_media_type``: application/jsonl for a body of lines, each of type ``request``.
    ``media_type``: of the response, where it is not JSON. ``redirect``: where to, for a method that may answer
    with a 302, always if it has no ``response``. ``limit``: the limit class. ``creates``: it makes an object, so
    that with an Idempotency-Key it is carried out once. ``headers``: others that it reads, and what they mean.
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
    media_type: str = "application/json"
    redirect: str = ""
    limit: LimitClass = "default"
    creates: bool = False
    headers: Mapping[str, str] = MappingProxyType({})
    errors: tuple[type[JanError], ...] = ()
    examples: tuple[Example, ...] = ()


class Serves(Protocol):
    """What ``@operation`` needs of a handler."""

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
) -> Callable[[Callable[Concatenate[H, P], Awaitable[R]]], Callable[..., Awaitable[None]]]:
    """Declare an HTTP method of a handler; the other keywords are Operation's.

    The method gets the path's parameters by name, the decoded body as ``body`` if it has a ``request``
    type, and the query parameters as ``query`` if it has a type for them; it returns the response, or an
    EventStream.
    """

    def decorate(method: Callable[Concatenate[H, P], Awaitable[R]]) -> Callable[..., Awaitable[None]]:
        declaration = Operation(
            name=method.__name__,
            summary=summary,
            description=inspect.cleandoc(method.__doc__ or ""),
            access=access,
            **declared,
        )

        @wraps(method)
        async def serve(self: H, **path: Any) -> None:
            await self.serve(declaration, method, path)

        setattr(serve, _ATTRIBUTE, declaration)
        return serve

    return decorate


def operation_of(method: Any) -> Operation | None:
    """The declaration of a method, None if it has none."""
    found = getattr(method, _ATTRIBUTE, None)
    return found if isinstance(found, Operation) else None
