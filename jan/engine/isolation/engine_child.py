"""The process of an engine: one backend on its thread, and the connections of event loops that use it.

It imports one model library, and nothing of the web. Standard input brings the plan, and when it ends the process
ends too, so it never outlives its parent. Standard output takes how the load goes, and the log.
"""

import asyncio
import gc
import itertools
import os
import socket
from contextlib import suppress

import msgspec
import structlog

from jan.engine.base import Failed, JobId, ModelInfo
from jan.engine.isolation.backend_making import made_backend
from jan.engine.isolation.client_link import ClientLink
from jan.engine.isolation.control_pipes import ControlPipes
from jan.engine.isolation.engine_messages import EngineState, LoadedPart, LoadEnded, ProcessPlan, Welcome
from jan.engine.isolation.linked_outbox import LinkedOutbox
from jan.engine.isolation.parent_watch import end_with, leave_signals
from jan.engine.refusals import reason_of, stalled
from jan.engine.runtime.host import Host, HostEvents
from jan.engine.runtime.interpreter import tune_interpreter
from jan.engine.runtime.mailbox import Close
from jan.engine.runtime.thread import EngineThread
from jan.errors import JanError

log = structlog.get_logger(__name__)

#: The exit code of a process whose engine thread died.
THREAD_DIED = 70
#: The exit code of a process that could not load its model.
NOT_LOADED = 71
# Seconds for events and lines of the log that the other side has not taken yet.
_FLUSH_SECONDS = 1.0
# Between two looks at a busy engine.
_BEAT_SECONDS = 0.1


def main() -> None:
    """Run the process from its plan to its end."""
    pipes = ControlPipes()
    plan = pipes.plan()
    end_with(plan.parent)
    tune_interpreter()
    asyncio.run(EngineChild(plan, pipes).run())


class EngineChild:
    """The engine and its connections."""

    def __init__(self, plan: ProcessPlan, pipes: ControlPipes) -> None:
        self.name = plan.name
        self.nonce = plan.nonce
        self._plan = plan
        self._pipes = pipes
        self._links: list[ClientLink] = []
        self._ids = itertools.count(1)
        self._beating = False

    async def run(self) -> None:
        """Load, serve, and end the process."""
        loop = asyncio.get_running_loop()
        self._ends: asyncio.Future[int] = loop.create_future()
        self._pipes.open(self._close)
        self._outbox = LinkedOutbox()
        events = HostEvents(lambda _batches: None, self._on_reset, self._on_death)
        self.thread = EngineThread(
            self.name, lambda: made_backend(self._plan.backend), self._plan.rules, events, self._outbox
        )
        try:
            info = await self.thread.start(lambda part: self._pipes.send(LoadedPart(part)))
            self.welcome = msgspec.msgpack.encode(_welcome_of(info))
        except JanError as error:
            await self._exit(NOT_LOADED, LoadEnded(error.message))
        except Exception as error:
            log.exception("model can't be loaded", model=self.name)
            await self._exit(
                NOT_LOADED, LoadEnded(f"It can't be loaded: {type(error).__name__}: {reason_of(error)}.")
            )
        # A library may have taken signals for itself.
        leave_signals()
        gc.collect()
        gc.freeze()
        self._outbox.begin(self.thread, info.cache)
        listener = socket.socket(fileno=self._plan.listener)
        loop.add_reader(listener, self._accept, listener)
        self._pipes.send(LoadEnded())
        await self._exit(await self._ends)

    async def _exit(self, code: int, last: LoadEnded | None = None) -> None:
        """End the process, once everything is sent, or nobody takes it."""
        if last is not None:
            self._pipes.send(last)
        await asyncio.gather(*(link.flush(_FLUSH_SECONDS) for link in self._links))
        await self._pipes.flush(_FLUSH_SECONDS)
        # Not by way of Python's end, which a thread that hangs would hold up.
        os._exit(code)

    def _close(self) -> None:
        """Free the model and end, as the parent asks."""

        async def close() -> None:
            await self.thread.join(self._plan.rules.join_seconds)
            self._end(0)

        self.thread.post(Close())
        self._closing = asyncio.create_task(close())

    def _end(self, code: int) -> None:
        if not self._ends.done():
            self._ends.set_result(code)

    def _on_death(self, _thread: Host) -> None:
        self._end(THREAD_DIED)

    def _on_reset(self) -> None:
        failure = Failed.of(stalled(self.name, self._plan.rules.stall_seconds))
        for link in self._links:
            link.was_reset(failure)

    # --- connections --------------------------------------------------------------------------------

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            connection, _ = listener.accept()
            connection.setblocking(False)
            ClientLink(self, connection.detach())

    def next_id(self) -> JobId:
        """Return an id that no other job has."""
        return next(self._ids)

    def greet(self, link: ClientLink) -> None:
        """Take a connection that has introduced itself."""
        self._links.append(link)
        self._outbox.links = tuple(self._links)

    def leave(self, link: ClientLink) -> None:
        """Forget a connection that has ended."""
        if link in self._links:
            self._links.remove(link)
            self._outbox.links = tuple(self._links)

    def state(self) -> EngineState:
        """Return how the engine is doing."""
        return self._outbox.state()

    def wake(self) -> None:
        """Tell the connections what the engine is doing, now and then, until it is idle."""
        if not self._beating:
            self._beating = True
            asyncio.get_running_loop().call_later(_BEAT_SECONDS, self._beat)

    def _beat(self) -> None:
        self._beating = False
        if self._outbox.tell():
            self.wake()


def _welcome_of(info: ModelInfo) -> Welcome:
    """Return what event loops learn of the model. Its formats are compiled here."""
    return Welcome(msgspec.structs.replace(info, formats=None, unserved=dict(info.unserved)))
