"""An engine's thread, seen from the event loop: started, told, watched, given up.

A thread that hangs in its backend can't be ended from outside: it is abandoned. Then nothing of it reaches
anybody, and it ends by itself if it ever wakes up.
"""

import asyncio
import queue
import threading
from collections.abc import Callable

import structlog

from jan.engine.base import Backend, ModelInfo, OnProgress
from jan.engine.rules import EngineRules
from jan.engine.runtime.mailbox import Batch, Close, Message, Outbox
from jan.engine.runtime.worker import Worker
from jan.engine.stats import EngineStats
from jan.errors import InternalError

log = structlog.get_logger(__name__)


class EngineThread:
    """One thread with the backend it drives. Called on the event loop: ``on_arrival`` with what comes of the jobs,
    ``on_reset`` when a Reset was obeyed, ``on_death`` when the thread ends that was not told to."""

    def __init__(
        self,
        name: str,
        make_backend: Callable[[], Backend],
        rules: EngineRules,
        stats: EngineStats,
        *,
        on_arrival: Callable[[list[Batch]], None],
        on_reset: Callable[[], None],
        on_death: Callable[["EngineThread"], None],
    ) -> None:
        self._name = name
        self._make_backend = make_backend
        self._stats = stats
        self._on_death = on_death
        self._inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._outbox = Outbox(on_arrival)
        self._worker = Worker(name, rules, stats, self._inbox, self._outbox, on_reset)

    async def start(self, progress: OnProgress) -> ModelInfo:
        """Start the thread and load the model in it; raises what the backend's load raises."""
        loaded: asyncio.Future[ModelInfo] = asyncio.get_running_loop().create_future()
        self._thread = threading.Thread(
            target=self._main, args=(loaded, progress), name=f"engine-{self._name}", daemon=True
        )
        self._thread.start()
        return await loaded

    def post(self, message: Message) -> None:
        """Tell the thread something."""
        self._inbox.put(message)

    def busy_since(self) -> float | None:
        """When it last ended a step or took a message, on the monotonic clock; None while it has nothing to do."""
        return None if self._worker.idle else self._stats.progress_at

    def abandon(self) -> None:
        """Give the thread up: nothing of it reaches anybody from now on; it ends when it can."""
        self._outbox.cut = True
        self.post(Close())

    async def join(self, seconds: float) -> bool:
        """Wait for the thread's end for so long; returns whether it has ended."""
        await asyncio.to_thread(self._thread.join, seconds)
        return not self._thread.is_alive()

    def _main(self, loaded: "asyncio.Future[ModelInfo]", progress: OnProgress) -> None:
        """Run on the thread."""
        try:
            backend = self._make_backend()
            info = backend.load(lambda part: self._outbox.call(progress, part))
        except Exception as error:  # noqa: BLE001 - handed to whoever waits for the start
            self._outbox.settle(loaded, error)
            return
        except BaseException as error:  # noqa: BLE001 - what would end the event loop that waits for it
            self._outbox.settle(loaded, InternalError(f"loading was ended by {type(error).__name__}"))
            return
        self._outbox.settle(loaded, info)
        try:
            self._worker.serve(backend)
        except BaseException:
            # The jobs first: formatting a traceback can take its time.
            self._outbox.deliver()
            self._worker.forget()
            self._outbox.call(self._on_death, self)
            log.exception("engine thread died", model=self._name, abandoned=self._outbox.cut)
        finally:
            backend.close()
        if self._outbox.cut:
            log.info("abandoned engine thread has ended", model=self._name)
