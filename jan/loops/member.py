"""The membership of a web loop among several that serve together."""

import socket

from jan.engine.base import Engine
from jan.engine.isolation.attached_engine import AttachedEngine
from jan.engine.isolation.engine_messages import EngineAddress
from jan.engine.rules import rules_of
from jan.loops.link import Link
from jan.loops.merged_metrics import exposition
from jan.loops.questions import ALL_METRICS, LOCATE, PROCESSES, Beginning, Nothing
from jan.loops.shared_counters import LinkedCounters
from jan.loops.streams_elsewhere import OtherLoops
from jan.schema.status import ProcessUse
from jan.settings import ModelSettings


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
        self._processes = frozenset(beginning.processes)

    def engine(self, settings: ModelSettings) -> Engine | None:
        """Make the engine of a model that runs in a process of the supervisor; None for any other."""
        if settings.id not in self._processes:
            return None

        async def locate() -> EngineAddress:
            return await self._link.ask(LOCATE, settings.id)

        return AttachedEngine(settings.id, locate, rules_of(settings))

    async def all_processes(self) -> tuple[ProcessUse, ...]:
        """Return the processes of the server, the supervisor first."""
        processes = await self._link.ask(PROCESSES, Nothing())
        return tuple(processes)

    async def all_metrics(self) -> bytes:
        """Return the metrics of all loops in Prometheus' text format."""
        processes = await self._link.ask(ALL_METRICS, Nothing())
        return exposition(processes, self._processes)
