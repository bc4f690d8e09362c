"""The end of connections that ask for nothing, when another process serves their clients from now on."""

import asyncio
import select

from tornado.iostream import IOStream

from jan.http.open_connections import OpenConnections

# How often those are looked at once more from which something has come that is not read yet.
_LOOKS = 50
_BETWEEN_LOOKS_SECONDS = 0.02


async def close_idle(connections: OpenConnections) -> None:
    """Close those that have asked for nothing since their last answer.

    On a busy machine a request may have come that is not read yet: to close its connection would refuse it.
    """
    for _ in range(_LOOKS):
        idle = connections.idle()
        for connection in idle:
            if not _has_unread(connection.stream):
                connections.forget(connection)
                connection.stream.close()
        if not idle:
            return
        await asyncio.sleep(_BETWEEN_LOOKS_SECONDS)


def _has_unread(stream: IOStream) -> bool:
    """Return True if a client has sent something, or its end, that was not read yet."""
    if stream.socket is None:
        return False
    looker = select.poll()
    looker.register(stream.socket, select.POLLIN)
    return bool(looker.poll(0))
