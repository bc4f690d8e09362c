"""The host of a backend in a process of its own: the process, and this event loop's connection to it."""

import asyncio
from collections.abc import Callable

import structlog

from jan.engine.base import ModelInfo, OnProgress
from jan.engine.isolation.engine_link import EngineLink
from jan.engine.isolation.engine_messages import EngineAddress, ProcessPlan
from jan.engine.isolation.engine_process import EngineProcess
from jan.engine.isolation.linked_host import LinkedHost
from jan.engine.runtime.host import HostEvents
from jan.engine.runtime.mailbox import Close, Message
from jan.errors import ConfigurationError

log = structlog.get_logger(__name__)

# How long a process may go on that has closed the connection of its parent.
_GRACE_SECONDS = 1.0


class ProcessHost(LinkedHost):
    """One process with its backend: the Host of an isolated engine.

    Args:
        plan: what the process is told.
        address: where it is found then.
        admit: called on a thread before the process is started. Raises ConfigurationError for a model that must
            not be loaded.
        events: called on the event loop.
    """

    can_be_ended = True

    def __init__(
        self, plan: ProcessPlan, address: EngineAddress, admit: Callable[[], object], events: HostEvents
    ) -> None:
        super().__init__(plan.name)
        self._plan = plan
        self._address = address
        self._admit = admit
        self._events = events
        self._process: EngineProcess | None = None
        self._loop = asyncio.get_running_loop()
        # It was asked to end.
        self._ends = False

    @property
    def pid(self) -> int | None:
        """The id of the process, None while there is none."""
        return None if self._process is None or self._process.ended.is_set() else self._process.pid

    async def start(self, progress: OnProgress) -> ModelInfo:
        """Start the process, load the model in it and connect.

        Raises ConfigurationError if the model can't be loaded.
        """
        await asyncio.to_thread(self._admit)
        self._process = EngineProcess(self._plan, self._on_end)
        try:
            await self._process.load(progress)
            async with asyncio.timeout(self._plan.rules.stall_seconds):
                link = await EngineLink.open(self._address, self._events, self._on_disconnect)
                self.stats = link.stats
                info = await link.info()
            if self._process.ended.is_set():
                raise ConnectionError(f"it ended {self._process.end}")
        except OSError as error:
            self.abandon()
            reason = str(error) or "it does not answer"
            raise ConfigurationError(f"The model's process can't be reached: {reason}.") from error
        except BaseException:
            self.abandon()
            raise
        self._link = link
        return info

    def post(self, message: Message) -> None:
        """Send a message, together with the others of this turn of the loop."""
        if isinstance(message, Close):
            self._ends = True
            if self._process is not None:
                self._process.close()
        else:
            super().post(message)

    def abandon(self) -> None:
        """Kill the process, and with it what the backend holds."""
        self._ends = True
        if self._link is not None:
            self._link.close()
        if self._process is not None:
            self._process.kill()

    async def join(self, seconds: float) -> bool:
        """Wait at most ``seconds`` for the end of the process; returns True if it has ended."""
        if self._process is None:
            return True
        try:
            async with asyncio.timeout(seconds):
                await self._process.ended.wait()
        except TimeoutError:
            return False
        return True

    def _on_disconnect(self) -> None:
        """End a process that has closed the connection, unless it ends by itself at once."""
        assert self._process is not None  # whose connection it was
        self._loop.call_later(_GRACE_SECONDS, self._process.kill)

    def _on_end(self) -> None:
        """Note that the process has ended."""
        process, link = self._process, self._link
        assert process is not None  # the one that has ended
        asked, self._ends = self._ends, True
        if link is not None:
            link.drain()
            link.close()
        if not asked or process.was_killed:
            log.error(
                "engine process ended",
                model=self._plan.name,
                pid=process.pid,
                end=process.end,
                killed_by_server=process.was_killed,
                last_words=process.last_words,
            )
        if not asked and link is not None:
            self._events.on_death(self)
