"""The address on which a server listens."""

import os
import socket

from tornado.netutil import bind_sockets

from jan.errors import ConfigurationError
from jan.settings import ServerSettings


class CannotListen(ConfigurationError):
    """The server can't listen on its address."""


def listen(settings: ServerSettings) -> list[socket.socket]:
    """Take the port. Raises CannotListen."""
    host, port = settings.host, settings.port
    try:
        # A client that finds no place in the system's queue tries again after a second.
        return bind_sockets(port, host, backlog=settings.max_connections)
    except (OSError, UnicodeError) as error:
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number and number > 0 else str(error)
        raise CannotListen(
            f"Can't listen on {host}:{port}: {reason}. Choose another port with --port or server.port."
        ) from error


def url_of(scheme: str, bound: socket.socket) -> str:
    """Return the base URL of a socket that is listened on."""
    host, port = bound.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if bound.family == socket.AF_INET6 else f"{scheme}://{host}:{port}"
