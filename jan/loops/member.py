"""The membership of a web loop among several that serve together."""

import socket

from jan.loops.link import Link
from jan.loops.merged_metrics import exposition
from jan.loops.questions import ALL_METRICS, Beginning, Nothing
from jan.loops.shared_counters import LinkedCounters
from jan.loops.streams_elsewhere import OtherLoops


class Member:
    """A web loop's number, the sockets on which all loops accept connections, and what they share."""

    def __init__(self, beginning: Beginning, link: Link) -> None:
        #: True for the loop that keeps the store in order.
        self.first = beginning.number == 1
        #: True for the loop with which the server has started.
        self.starts_server = self.first and not beginning.again
        self.sockets = [socket.socket(fileno=number) for number in beginning.sockets]
        self.counters = LinkedCounters(link)
        self.elsewhere = OtherLoops(link)
        self._link = link

    async def all_metrics(self) -> bytes:
        """Return the metrics of all loops in Prometheus' text format."""
        processes = await self._link.ask(ALL_METRICS, Nothing())
        return exposition(processes)
