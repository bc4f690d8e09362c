"""Passes a request from its connection to its handler."""

from collections.abc import Callable, Mapping

from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
)

from jan.http.request_connection import RequestRunner
from jan.http.responder import Responder

#: The handler that was made for a request, and the parameters of its path.
Found = tuple[Responder, Mapping[str, bytes]]


class RequestDelegate(RequestRunner):
    """Makes the handler of one request with its headers, and runs it with the end of its body.

    Tornado's own delegates start a task before there is a body, and wait by futures for what is known at once.
    """

    def __init__(
        self, find: Callable[[HTTPServerRequest], Found], server_connection: object, connection: HTTPConnection
    ) -> None:
        self._find = find
        self._server_connection = server_connection
        self._connection = connection
        self._handler: Responder | None = None

    def headers_received(self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders) -> None:
        """Make the handler, which may refuse the request already."""
        assert isinstance(start_line, RequestStartLine)  # of a request
        request = HTTPServerRequest(
            connection=self._connection,
            server_connection=self._server_connection,
            start_line=start_line,
            headers=headers,
        )
        self._handler, path = self._find(request)
        self._handler.begin(path)

    def data_received(self, chunk: bytes) -> None:
        """Pass a piece of the body on."""
        assert self._handler is not None  # the headers come first
        self._handler.data_received(chunk)

    async def run(self) -> None:
        """Run the handler, because the body is complete."""
        assert self._handler is not None  # the headers come first
        await self._handler.run()

    def on_connection_close(self) -> None:
        """Tell the handler that its client left before the end of the body."""
        if self._handler is not None:
            self._handler.on_connection_close()
