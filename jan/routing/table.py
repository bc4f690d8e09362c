"""Resolve the YAML route table. Every mistake in it keeps the server from starting."""

import inspect
import re
from collections.abc import Iterable
from typing import Any, get_args

import msgspec
from tornado.web import RequestHandler

from jan.errors import ConfigurationError, Mistakes
from jan.handler import Handler
from jan.operation import LimitClass, Operation
from jan.settings import RouteSettings, Settings
from jan.settings.mistakes import convert_options
from jan.settings.names import DottedName
from jan.settings.plugins import CannotImport, import_class

_API = "{api}"
_PARAMETER = re.compile(r"\{(?P<name>[a-z_][a-z0-9_]*)(?P<rest>:path)?\}")


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One URL. ``pattern`` is its regular expression for Tornado, ``template`` is its form for OpenAPI. ``group``:
    what switches it together with others, '' if nothing does.

    ``is_alias``: the endpoint is the same as under the first API prefix, so the document does not repeat it.
    """

    path: str
    name: str
    template: str
    pattern: str
    handler: type[Handler]
    group: str
    options: Any
    operations: dict[str, Operation]
    is_alias: bool


def resolve_routes(table: Iterable[RouteSettings], api_prefixes: tuple[str, ...]) -> list[Route]:
    """Import the handlers and check the table. Raises ConfigurationError, which names entry and remedy."""
    routes: list[Route] = []
    mistakes = Mistakes()
    for index, entry in enumerate(table):
        where = f"routes[{index}] ({entry.path})"
        prefixes = api_prefixes if _API in entry.path else ("",)
        with mistakes.collecting():
            for number, prefix in enumerate(prefixes):
                routes.append(_resolve(entry, entry.path.replace(_API, prefix), number > 0, where))
    with mistakes.collecting():
        _check_unique(routes)
    for route in routes:
        with mistakes.collecting():
            _check_group(route, routes)
    mistakes.raise_any()
    return routes


def served_routes(settings: Settings) -> list[Route]:
    """Return the routes of a server. Raises ConfigurationError also if there are none."""
    if not settings.routes:
        raise ConfigurationError(
            "routes: There are none, so the server would answer no request. Begin the file with "
            "`extends: default`, or list routes."
        )
    return resolve_routes(settings.served_routes, settings.server.api_prefixes)


def _resolve(entry: RouteSettings, path: str, is_alias: bool, where: str) -> Route:
    if not path.startswith("/"):
        raise ConfigurationError(f"{where}: path: It must begin with '/' or '{_API}'.")
    handler = _load(entry.handler, where)
    operations = _operations(handler, where)
    names = [match["name"] for match in _PARAMETER.finditer(path)]
    for method, operation in operations.items():
        _check_parameters(handler, method, names, where)
        _check_inputs(handler, method, operation, where)
    return Route(
        path=path,
        name=entry.name,
        template=_PARAMETER.sub(lambda match: f"{{{match['name']}}}", path),
        pattern=_pattern(path),
        handler=handler,
        group=entry.group,
        options=_options(handler, entry.options, where),
        operations=operations,
        is_alias=is_alias,
    )


def _pattern(path: str) -> str:
    pattern, at = "", 0
    for match in _PARAMETER.finditer(path):
        part = ".+" if match["rest"] else "[^/]+"
        pattern += re.escape(path[at : match.start()]) + f"(?P<{match['name']}>{part})"
        at = match.end()
    return pattern + re.escape(path[at:])


def _load(dotted: DottedName, where: str) -> type[Handler]:
    try:
        found = import_class(dotted)
    except CannotImport as error:
        raise ConfigurationError(f"{where}: handler: {error.message}") from error
    if not (isinstance(found, type) and issubclass(found, Handler)):
        raise ConfigurationError(f"{where}: handler: The class '{dotted}' must extend jan.handler.Handler.")
    return found


def _operations(handler: type[Handler], where: str) -> dict[str, Operation]:
    """Return the declared operations. A method without a declaration has no access rule, so it is refused."""
    if inspect.iscoroutinefunction(handler.prepare):
        raise ConfigurationError(
            f"{where}: {handler.__name__}.prepare must not be async, because nothing awaits it."
        )
    declared = handler.operations()
    for method in handler.SUPPORTED_METHODS:
        own = getattr(handler, method.lower())
        inherited = own in (getattr(RequestHandler, method.lower()), getattr(Handler, method.lower()))
        if method not in declared and not inherited:
            raise ConfigurationError(
                f"{where}: {handler.__name__}.{method.lower()} has no @operation, which would say who may call it."
            )
    if not declared:
        raise ConfigurationError(f"{where}: {handler.__name__} declares no method with @operation.")
    return declared


def _check_parameters(handler: type[Handler], method: str, names: list[str], where: str) -> None:
    takes = inspect.signature(getattr(handler, method.lower())).parameters
    wanted = [name for name in takes if name not in ("self", "body", "query")]
    if sorted(wanted) != sorted(names):
        raise ConfigurationError(
            f"{where}: {handler.__name__}.{method.lower()} takes the path parameters {wanted}, but "
            f"the path has {names}."
        )


def _check_inputs(handler: type[Handler], method: str, operation: Operation, where: str) -> None:
    """Check that a method takes ``body`` and ``query`` exactly if its declaration has types for them, that its
    limit class exists, and that it has a response to keep if it creates something."""
    if operation.limit not in get_args(LimitClass):
        raise ConfigurationError(
            f"{where}: {handler.__name__}.{method.lower()}: Unknown limit class '{operation.limit}'; allowed: "
            f"{', '.join(get_args(LimitClass))}."
        )
    if operation.creates and operation.response is None:
        raise ConfigurationError(
            f"{where}: {handler.__name__}.{method.lower()} 'creates', so its @operation must have 'response'."
        )
    takes = inspect.signature(getattr(handler, method.lower())).parameters
    for name, declared in (("body", operation.request), ("query", operation.query)):
        if (name in takes) != (declared is not None):
            keyword = {"body": "request"}.get(name, name)
            raise ConfigurationError(
                f"{where}: {handler.__name__}.{method.lower()} must take '{name}' if its @operation has "
                f"'{keyword}', and only then."
            )


def _options(handler: type[Handler], options: dict[str, Any], where: str) -> Any:
    if handler.Options is None:
        if options:
            raise ConfigurationError(f"{where}: options: {handler.__name__} takes none.")
        return None
    try:
        return convert_options(options, handler.Options)
    except ConfigurationError as error:
        raise error.under(where) from error


def _check_unique(routes: list[Route]) -> None:
    seen: dict[str, Route] = {}
    for route in routes:
        shape = _PARAMETER.sub("{}", route.template)
        if shape in seen:
            raise ConfigurationError(
                f"routes: Two routes have the path {route.path}: {seen[shape].name}, {route.name}."
            )
        seen[shape] = route


def _check_group(route: Route, routes: list[Route]) -> None:
    """Refuse a route that takes a path of a group, which its owner may not know of: it would not get that path."""
    for other in routes:
        if other.group and not route.group and "{" in route.path and re.fullmatch(route.pattern, other.path):
            raise ConfigurationError(
                f"routes: {route.path} ({route.name}) also matches {other.path} of the group {other.group}. "
                f"Choose another path, or switch the group off with endpoints: {{{other.group}: off}}."
            )


def audit_table(routes: Iterable[Route]) -> list[tuple[str, str, str, str, str]]:
    """Return rows of URL, method, who may call, limit class, and route name."""
    return [
        (route.path, method, str(operation.access), operation.limit, route.name)
        for route in routes
        for method, operation in route.operations.items()
    ]
