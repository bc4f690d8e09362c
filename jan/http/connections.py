"""The HTTP server's connections: limits their number, and closes those of clients that stop reading."""

import asyncio
import socket
import struct
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from ssl import SSLContext
from typing import Any

import structlog
from tornado.http1connection import HTTP1Connection, HTTP1ServerConnection
from tornado.httpserver import HTTPServer, _HTTPRequestContext
from tornado.httputil import HTTPConnection, HTTPMessageDelegate
from tornado.iostream import IOStream, SSLIOStream, StreamClosedError, UnsatisfiableReadError
from tornado.web import Application

from jan.errors import JanError, Unavailable, status_of
from jan.http.body import DRAIN_FACTOR
from jan.http.idle_connections import close_idle
from jan.http.open_connections import OpenConnections
from jan.http.plain_response import new_request_id, whole_answer
from jan.http.request_connection import OnMalformed, ServerConnection
from jan.http.request_head import too_long
from jan.settings import ServerSettings
from jan.settings.addresses import TrustedProxies

try:
    import fcntl
    import resource
    import termios
except ImportError:  # Windows has none of these
    fcntl = resource = termios = None  # type: ignore[assignment]

log = structlog.get_logger(__name__)

# Limits the system's buffer for data that a client has not read. Without a limit it grows to megabytes.
_SEND_BUFFER = 256 * 1024
# Checks of a connection within its time limit.
_LOOKS = 4
# Beyond the limits that get an error response, the parser closes the connection.
_HEADER_SLACK = 65536
# Open files of the store, the models and the log.
_OTHER_FILES = 256
# Bytes read at a time. Tornado makes a new buffer of this size for each read, and a request is small.
_READ_BYTES = 16 * 1024
# Linux gives a new connection the options of the socket that accepts it (tcp(7), socket(7)).
_INHERITED = sys.platform == "linux"


class PromptStream(IOStream):
    """The stream of a plain connection, whose system sends everything at once (TCP_NODELAY, RFC 1122 4.2.3.4)."""

    #: Makes the answer to a request whose head is too long. Tornado closes the connection at once then.
    on_malformed: OnMalformed | None = None

    def set_nodelay(self, value: bool) -> None:
        """Do nothing, because it is set for good. Tornado asks for a change twice for each response."""

    def close(self, exc_info: Any = False) -> None:
        """Close the connection, with an answer if a request was too long to be read."""
        if isinstance(exc_info, UnsatisfiableReadError) and self.on_malformed is not None and not self.closed():
            with suppress(OSError):
                self.socket.send(self.on_malformed(too_long()))
        super().close(exc_info)


class ConnectionServer(HTTPServer):
    """Tornado's server with limits on connections and on clients that do not read."""

    def initialize(  # type: ignore[override]  # made by us alone
        self,
        application: Application,
        settings: ServerSettings,
        tls: SSLContext | None,
        count_malformed: Callable[[int, str], None],
        shown: Callable[[str], str],
        shares_port: bool = False,
    ) -> None:
        """Configure the server. Tornado calls this on construction. ``count_malformed`` gets an
        error's status and code, ``shown`` turns an address into what the log has of it. ``shares_port``: other
        processes accept connections on the same sockets."""
        super().initialize(
            application,
            ssl_options=tls,
            max_body_size=settings.max_body_bytes * DRAIN_FACTOR + 1,
            max_header_size=settings.max_header_bytes + settings.max_url_bytes + _HEADER_SLACK,
        )
        # Tornado's own limit makes a future and a timer for each request. Here one timer looks at all connections.
        self.conn_params.header_timeout = None
        self._settings = settings
        self._count_malformed = count_malformed
        self._shown = shown
        self._proxies = TrustedProxies(settings.trusted_proxies)
        self._open = OpenConnections(settings.first_request_timeout_seconds, settings.header_timeout_seconds)
        self._shares_port = shares_port
        self._watch: asyncio.TimerHandle | None = None
        self._progress: dict[IOStream, tuple[int, float]] = {}
        self._idle_watch: asyncio.TimerHandle | None = None

    def watch(self) -> None:
        """Start to close the connections of clients that read nothing, or send no headers in time."""
        self._watch_stalled()
        self._watch_idle()

    def _watch_stalled(self) -> None:
        seconds = self._settings.write_timeout_seconds
        self._watch = asyncio.get_running_loop().call_later(seconds / _LOOKS, self._watch_stalled)
        self._end_stalled(asyncio.get_running_loop().time() - seconds)

    def _watch_idle(self) -> None:
        loop = asyncio.get_running_loop()
        self._idle_watch = loop.call_later(self._open.shortest_wait / _LOOKS, self._watch_idle)
        for connection in self._open.overdue(loop.time()):
            connection.stream.close()

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """Note that a request is waited for. Tornado calls this."""
        assert isinstance(server_conn, HTTP1ServerConnection)
        assert isinstance(request_conn, HTTP1Connection)
        self._open.expect(server_conn, request_conn, asyncio.get_running_loop().time())
        return super().start_request(server_conn, request_conn)

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Accept connections on these sockets."""
        listening = list(sockets)
        for listener in listening:
            _prepare(listener)
        if not self._shares_port:
            super().add_sockets(listening)
            return
        loop = asyncio.get_running_loop()
        for listener in listening:
            number = listener.fileno()
            self._sockets[number] = listener
            loop.add_reader(number, self._accept_one, listener)
            self._handlers[number] = partial(_stop_accepting, loop, number)

    def _accept_one(self, listener: socket.socket) -> None:
        """Accept one connection and leave the next to whoever is free. Tornado accepts all that wait, so that one
        process would get a whole burst."""
        with suppress(BlockingIOError, ConnectionAbortedError):
            connection, address = listener.accept()
            connection.setblocking(False)
            self._handle_connection(connection, address)

    async def hand_over(self, seconds: float) -> None:
        """Let clients go to another process: serve one more request on each connection that asks in this time, and
        close those that do not. To close one at once would refuse a request that is on its way."""
        self.stop()
        self.conn_params.no_keep_alive = True
        if len(self._open):
            await asyncio.sleep(seconds)
        await close_idle(self._open)

    def _handle_connection(self, connection: socket.socket, address: Any) -> None:
        if self.ssl_options is not None:
            super()._handle_connection(connection, address)
            return
        if not _INHERITED:
            _prepare(connection)
        stream = PromptStream(connection, max_buffer_size=self.max_buffer_size, read_chunk_size=_READ_BYTES)
        stream.on_malformed = partial(self._answer_malformed, _peer(address))
        self.handle_stream(stream, address)

    async def close_all_connections(self) -> None:
        """Close all open connections."""
        for watch in (self._watch, self._idle_watch):
            if watch is not None:
                watch.cancel()
        await super().close_all_connections()

    def _end_stalled(self, since: float) -> None:
        now, seen, before = asyncio.get_running_loop().time(), {}, self._progress
        for connection in list(self._connections):
            stream = connection.stream
            if not isinstance(stream, IOStream) or stream.closed() or not stream.writing():
                continue
            taken = stream._total_write_done_index - _unsent(stream)
            known = before.get(stream)
            if known is None or known[0] != taken:
                seen[stream] = (taken, now)
            elif known[1] > since:
                seen[stream] = known
            else:
                log.info("client reads nothing", seconds=self._settings.write_timeout_seconds)
                stream.close()
        self._progress = seen

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """Serve a new connection. If there are too many, an idle one makes room; if none is idle, refuse."""
        peer = _peer(address)
        owner = self._proxies.client(peer, "")
        if self._has_enough(owner, peer) and not self._make_room(owner):
            self._refuse(
                stream, peer, "Your address has too many connections to this server. Close some and try again."
            )
        elif len(self._open) >= self._settings.max_connections and not self._make_room(None):
            self._refuse(stream, peer, "The server has too many connections. Try again later.")
        else:
            context = _HTTPRequestContext(stream, address, self.protocol)
            on_malformed = partial(self._answer_malformed, peer)
            connection = ServerConnection(stream, self.conn_params, context, on_malformed)
            self._connections.add(connection)
            self._open.add(connection, owner, asyncio.get_running_loop().time())
            connection.start_serving(self)

    def _has_enough(self, owner: str, peer: str) -> bool:
        """Return True if an address has all the connections it may have. A trusted proxy has many clients and is
        exempt."""
        taken = self._open.of_owner(owner)
        return taken >= self._settings.max_connections_per_address and not self._proxies.includes(peer)

    def _make_room(self, owner: str | None) -> bool:
        """Close an idle connection, of this owner if one is given. Return False if every connection is in use."""
        idle = self._open.most_dispensable(owner, asyncio.get_running_loop().time())
        if idle is None:
            return False
        self._open.forget(idle)
        idle.stream.close()
        return True

    def _refuse(self, stream: IOStream, peer: str, why: str) -> None:
        """Answer 503 without reading. A TLS handshake that has not happened yet would cost too much."""
        error, request_id = Unavailable(why, code="too_many_connections"), new_request_id()
        client = self._shown(self._proxies.exact(peer, ""))
        log.info("connection refused", request_id=request_id, client=client, error=error.code)
        if isinstance(stream, SSLIOStream):
            stream.close()
            return
        answer = whole_answer(error, f"X-Request-Id: {request_id}\r\nRetry-After: 5")
        with suppress(StreamClosedError):
            stream.write(answer).add_done_callback(lambda _done: stream.close())

    def _answer_malformed(self, peer: str, error: JanError) -> bytes:
        """Log and count a request that reaches no handler, and return the answer."""
        request_id, status = new_request_id(), status_of(type(error))
        self._count_malformed(status, error.code)
        client = self._shown(self._proxies.exact(peer, ""))
        log.info(
            "request", request_id=request_id, route="malformed", status=status, client=client, error=error.code
        )
        return whole_answer(error, f"X-Request-Id: {request_id}")

    def on_close(self, server_conn: object) -> None:
        """Forget a connection. Tornado calls this at its end."""
        super().on_close(server_conn)
        assert isinstance(server_conn, HTTP1ServerConnection)
        self._open.forget(server_conn)


def _stop_accepting(loop: asyncio.AbstractEventLoop, number: int) -> None:
    loop.remove_reader(number)


def _prepare(one: socket.socket) -> None:
    """Set the options of a connection, or of the socket that accepts connections."""
    if one.family != socket.AF_UNIX:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def allow_files(connections: int) -> None:
    """Let this process open as many files as its connections need, as far as the system allows."""
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHER_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _unsent(stream: IOStream) -> int:
    """Return the bytes that the system still holds for a client; 0 if it does not say.

    The system accepts more only when a good part of its buffer is free. With a slow client that is long after the
    client read something.
    """
    if fcntl is None or stream.socket is None:
        return 0
    with suppress(OSError):
        held: int = struct.unpack("i", fcntl.ioctl(stream.socket, termios.TIOCOUTQ, bytes(4)))[0]
        return held
    return 0


def _peer(address: Any) -> str:
    return str(address[0]) if isinstance(address, tuple) else ""
