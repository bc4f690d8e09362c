"""Passes a request from its connection to its handler."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, RequestStartLine, ResponseStartLine

from jan.http.responder import Responder


class RequestDelegate(HTTPMessageDelegate):
    """Makes the handler of one request with its headers, and runs it with the end of its body.

    Tornado's own delegate starts a task before there is a body, and waits by futures for what is known at once.
    """

    def __init__(self, make: Callable[[], Responder], path: Mapping[str, bytes]) -> None:
        self._make = make
        self._path = path
        self._handler: Responder | None = None

    def headers_received(self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders) -> None:
        """Make the handler, which may refuse the request already."""
        self._handler = self._make()
        self._handler.begin(self._path)

    def data_received(self, chunk: bytes) -> None:
        """Pass a piece of the body on."""
        assert self._handler is not None  # the headers come first
        self._handler.data_received(chunk)

    def finish(self) -> None:
        """Run the handler, because the body is complete."""
        assert self._handler is not None  # the headers come first
        asyncio.get_running_loop().create_task(self._handler.run()).add_done_callback(_raise_error)

    def on_connection_close(self) -> None:
        """Tell the handler that its client left before the end of the body."""
        if self._handler is not None:
            self._handler.on_connection_close()


def _raise_error(task: "asyncio.Task[Any]") -> None:
    """Let the loop report an error of an error's answer."""
    if not task.cancelled():
        task.result()
