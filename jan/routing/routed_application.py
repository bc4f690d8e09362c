"""Tornado's application, which finds an endpoint without parameters in its path by one look-up."""

import re
from collections.abc import Sequence
from typing import Any

from tornado.httputil import HTTPConnection, HTTPServerRequest
from tornado.routing import URLSpec
from tornado.web import Application

from jan.http.request_delegate import Found, RequestDelegate
from jan.http.responder import Responder
from jan.routing.table import Route
from jan.services import Services

_SLASHES = re.compile("//+")
# The absolute form of a request target (RFC 9112 3.2.2), without a user's name.
_ABSOLUTE = re.compile(r"https?://([A-Za-z0-9.:\[\]_~-]+)(/.*)?", re.IGNORECASE)


class RoutedApplication(Application):
    """Serves the routes. ``settings`` are Tornado's."""

    def __init__(self, routes: Sequence[Route], services: Services, **settings: Any) -> None:
        specs = [
            URLSpec(
                route.pattern,
                route.handler,
                {
                    "services": services,
                    "route_name": route.name,
                    "route_path": route.template,
                    "route_options": route.options,
                },
                name=f"{route.name}:{route.path}",
            )
            for route in routes
        ]
        super().__init__(list[Any](specs), **settings)
        self._specs = specs
        # The first route that fits is meant, also where a later one has the path letter by letter.
        self._by_path: dict[str, URLSpec] = {}
        for route in routes:
            fitting = next((spec for spec in specs if spec.regex.match(route.path)), None)
            if fitting is not None and not fitting.regex.groups:
                self._by_path[route.path] = fitting

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> RequestDelegate:
        """Make what passes a request to its handler."""
        return RequestDelegate(self.find_handler, server_conn, request_conn)

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Found:  # type: ignore[override]  # only for us
        """Make the handler of a request, by its path alone if that has no parameters."""
        spec = self._by_path.get(request.path)
        if spec is None and _is_odd(request.path):
            _take_absolute_form(request)
            request.path = self._tidied(request.path)
            spec = self._by_path.get(request.path)
        if spec is None:
            return super().find_handler(request, **kwargs)  # type: ignore[return-value]  # made below
        return self.get_handler_delegate(request, spec.handler_class, spec.kwargs)

    def _tidied(self, path: str) -> str:
        """Return the path of a route that clients meant by a path with slashes too many.

        Clients join a base URL that ends with a slash with a path that begins with one.
        """
        if not any(spec.regex.match(path) for spec in self._specs):
            path = _SLASHES.sub("/", path)
        return path.rstrip("/") or "/"

    def get_handler_delegate(  # type: ignore[override]  # all handlers are Responders
        self,
        request: HTTPServerRequest,
        target_class: type[Responder],
        target_kwargs: dict[str, Any] | None = None,
        path_args: list[bytes] | None = None,
        path_kwargs: dict[str, bytes] | None = None,
    ) -> Found:
        """Make the handler of a request. Tornado calls this for a path with parameters."""
        return target_class(self, request, **(target_kwargs or {})), path_kwargs or {}


def _is_odd(path: str) -> bool:
    """Return True for a path that may have another form than a route's."""
    return path.endswith("/") or "//" in path


def _take_absolute_form(request: HTTPServerRequest) -> None:
    """Take path and host out of a target in absolute form. The host counts, whatever the Host header says."""
    found = _ABSOLUTE.fullmatch(request.path)
    if found is not None:
        request.host, request.path = found[1], found[2] or "/"
