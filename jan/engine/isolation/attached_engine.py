"""An engine whose process belongs to another process of the server: several event loops share it."""

from collections.abc import Awaitable, Callable

import msgspec

from jan.engine.base import ModelInfo, OnProgress
from jan.engine.isolation.engine_link import EngineLink
from jan.engine.isolation.engine_messages import EngineAddress
from jan.engine.isolation.linked_host import LinkedHost
from jan.engine.rules import EngineRules
from jan.engine.runtime.host import Host, HostEvents
from jan.engine.runtime.hosted_engine import HostedEngine
from jan.errors import InternalError

#: Has the model loaded, if it is not yet, and returns where its process is found. Raises ConfigurationError if it
#: can't be loaded.
Locate = Callable[[], Awaitable[EngineAddress]]

# Its owner waits longer before it starts the process again.
_BACKOFF_SECONDS = 0.1


class AttachedEngine(HostedEngine):
    """An Engine over the process of another one. When that is started again, this one connects again.

    Args:
        name: the model's id.
        locate: finds the process.
        rules: limits of the queue, as the owner of the process has them.
    """

    on_failure = "restart"

    def __init__(self, name: str, locate: Locate, rules: EngineRules) -> None:
        again = msgspec.structs.replace(rules, on_failure="restart", backoff_seconds=_BACKOFF_SECONDS)
        super().__init__(name, again, lambda: None)
        self._locate = locate

    def _make_host(self, events: HostEvents) -> Host:
        return AttachedHost(self._name, self._locate, events)


class AttachedHost(LinkedHost):
    """The Host of an AttachedEngine: one connection. It can't end the process; its owner does if it hangs."""

    can_be_ended = False

    def __init__(self, name: str, locate: Locate, events: HostEvents) -> None:
        super().__init__(name)
        self._locate = locate
        self._events = events

    async def start(self, progress: OnProgress) -> ModelInfo:
        """Connect to the process once its model is loaded.

        Raises ConfigurationError if it can't be loaded, and InternalError if the process ends.
        """
        address = await self._locate()
        try:
            link = await EngineLink.open(address, self._events, self._on_disconnect)
            self.stats = link.stats
            try:
                info = await link.info()
            except BaseException:
                link.close()
                raise
        except OSError as error:
            raise InternalError(f"The engine's process can't be reached: {error}.") from error
        self._link = link
        progress(1.0)
        return info

    def abandon(self) -> None:
        """Close the connection. The process ends the jobs of it."""
        if self._link is not None:
            self._link.close()

    async def join(self, _seconds: float) -> bool:
        """Return True: nothing of it is left here."""
        self.abandon()
        return True

    def _on_disconnect(self) -> None:
        link = self._link
        if link is not None:
            link.drain()
            self._events.on_death(self)
