"""The connections of clients. Tells which of them are overdue, and which can be closed to make room for others.

A connection whose request has arrived is in use and is never closed to make room.
"""

from collections import Counter

import msgspec
from tornado.http1connection import HTTP1Connection, HTTP1ServerConnection

_ABOUT_TO_ASK_SECONDS = 1.0


class _Expected(msgspec.Struct):
    """The latest request of a connection, and the time since when it is waited for, in the loop's seconds.

    ``request`` is None before the connection is first read from.
    """

    owner: str
    since: float
    request: HTTP1Connection | None = None

    @property
    def arrived(self) -> bool:
        """True once all headers of the request were read."""
        return self.request is not None and self.request._request_start_line is not None

    @property
    def body_arrived(self) -> bool:
        """True once the request was read to its end."""
        return self.request is not None and self.request._read_finished


class OpenConnections:
    """The open connections, in the order in which they were accepted.

    ``seconds`` is the time for a request's headers, and ``first_seconds`` that for the first request's if it is
    shorter.
    """

    def __init__(self, first_seconds: float, seconds: float) -> None:
        self._first_seconds = min(first_seconds, seconds)
        self._seconds = seconds
        self._all: dict[HTTP1ServerConnection, _Expected] = {}
        # Those that have asked for nothing yet, and some that have: they are dropped when somebody looks.
        self._fresh: dict[HTTP1ServerConnection, _Expected] = {}
        self._by_owner: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._all)

    @property
    def shortest_wait(self) -> float:
        """The shorter of the two time limits, in seconds."""
        return self._first_seconds

    def of_owner(self, owner: str) -> int:
        """Return the number of connections of an address."""
        return self._by_owner[owner]

    def add(self, connection: HTTP1ServerConnection, owner: str, now: float) -> None:
        """Add a connection that was just accepted."""
        self._all[connection] = self._fresh[connection] = _Expected(owner, now)
        self._by_owner[owner] += 1

    def expect(self, connection: HTTP1ServerConnection, request: HTTP1Connection, now: float) -> None:
        """Note that a connection waits for its next request. The first one is waited for since it was accepted."""
        expected = self._all.get(connection)
        if expected is None:
            return
        if expected.request is not None:
            self._fresh.pop(connection, None)
            expected.since = now
        expected.request = request

    def forget(self, connection: HTTP1ServerConnection) -> None:
        """Drop a connection that has ended, or ends now. May be called again."""
        expected = self._all.pop(connection, None)
        self._fresh.pop(connection, None)
        if expected is None:
            return
        self._by_owner[expected.owner] -= 1
        if self._by_owner[expected.owner] <= 0:
            del self._by_owner[expected.owner]

    def overdue(self, now: float) -> list[HTTP1ServerConnection]:
        """Return the connections that have sent no headers in time."""
        self._drop_asked()
        found = []
        for connection, expected in self._all.items():
            if connection.stream.writing():
                # The client has the next request's time after it has taken the answer to this one.
                expected.since = now
            elif not expected.arrived:
                seconds = self._first_seconds if connection in self._fresh else self._seconds
                if expected.since < now - seconds:
                    found.append(connection)
        return found

    def idle(self) -> list[HTTP1ServerConnection]:
        """Return the connections that have asked for nothing since their last answer, or at all."""
        return [one for one, expected in self._all.items() if not expected.arrived and not one.stream.writing()]

    def most_dispensable(self, owner: str | None, now: float) -> HTTP1ServerConnection | None:
        """Return the connection to close when there are too many: of one owner, or of all for None.

        The oldest that has asked for nothing, else the one that has been idle for longest after an answer, else
        one whose body takes longer than a first request's headers may. None if all others are in use. An owner's
        connections count as idle only after a second: a client that opens many at once is about to use them.
        """
        self._drop_asked()
        latest = now if owner is None else now - _ABOUT_TO_ASK_SECONDS
        for connection, expected in self._fresh.items():
            if owner in (None, expected.owner) and not expected.arrived and expected.since <= latest:
                return connection
        mine = [item for item in self._all.items() if owner in (None, item[1].owner)]
        idle = [(c, e) for c, e in mine if not e.arrived and e.since <= latest and not c.stream.writing()]
        slow = [(c, e) for c, e in mine if not e.body_arrived and e.since < now - self._first_seconds]
        for candidates in (idle, slow):
            if candidates:
                return min(candidates, key=lambda item: item[1].since)[0]
        return None

    def _drop_asked(self) -> None:
        """Forget that connections were fresh, up to the first that still is."""
        for connection, expected in list(self._fresh.items()):
            if not expected.arrived:
                return
            del self._fresh[connection]
