"""An engine's thread as the event loop sees it: start, send messages, watch, abandon.

A thread that hangs in its backend can't be ended from outside, so it is abandoned. Then its events are dropped,
and it ends by itself if it ever wakes up.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from contextvars import copy_context

import structlog

from jan.engine.base import Backend, ModelInfo, OnProgress
from jan.engine.rules import EngineRules
from jan.engine.runtime.mailbox import Batch, Close, Message, Outbox
from jan.engine.runtime.prompt_threads import PromptThreads
from jan.engine.runtime.worker import Worker
from jan.engine.stats import EngineStats
from jan.errors import InternalError

log = structlog.get_logger(__name__)


class EngineThread:
    """One thread with the backend that it drives.

    Called on the event loop: ``on_arrival`` with the events of jobs, ``on_reset`` after a Reset, ``on_death`` if
    the thread ends without a Close, ``on_prompts_idle`` when a prompt is tokenised and no other one waits.
    ``prompts``: the threads that tokenise for the backend.
    """

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
        on_prompts_idle: Callable[[], None],
    ) -> None:
        self.prompts = PromptThreads(name, stats, on_prompts_idle)
        self._name = name
        self._make_backend = make_backend
        self._stats = stats
        self._on_death = on_death
        self._inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._outbox = Outbox(on_arrival)
        self._worker = Worker(name, rules, stats, self._inbox, self._outbox, on_reset)
        self._loop = asyncio.get_running_loop()
        # Messages of this turn of the loop.
        self._unsent: list[Message] = []

    async def start(self, progress: OnProgress) -> ModelInfo:
        """Start the thread and load the model in it. Raises the exceptions of the backend's ``load``."""
        loaded: asyncio.Future[ModelInfo] = asyncio.get_running_loop().create_future()
        # It inherits the context, so that what it logs belongs to the server that started it.
        self._thread = threading.Thread(
            target=copy_context().run,
            args=(self._main, loaded, progress),
            name=f"engine-{self._name}",
            daemon=True,
        )
        self._thread.start()
        return await loaded

    def post(self, message: Message) -> None:
        """Send a message to the thread, together with the others of this turn of the loop.

        A thread that wakes up wants Python's lock at once, which costs both threads more than a message does.
        """
        if not self._unsent:
            self._loop.call_soon(self._send)
        self._unsent.append(message)

    def _send(self) -> None:
        messages, self._unsent = self._unsent, []
        for message in messages:
            self._inbox.put(message)

    def busy_since(self) -> float | None:
        """Return when it last made progress, or began with a prompt, on the monotonic clock; None while idle."""
        worker = None if self._worker.idle else self._stats.progress_at
        return min((since for since in (worker, self.prompts.busy_since) if since is not None), default=None)

    def abandon(self) -> None:
        """Drop all further events of the thread; it ends when it can."""
        self._outbox.abandoned = True
        self.prompts.stop()
        self.post(Close())

    async def join(self, seconds: float) -> bool:
        """Wait at most ``seconds`` for the thread's end; returns True if it has ended."""
        await asyncio.to_thread(self._thread.join, seconds)
        return not self._thread.is_alive()

    def _main(self, loaded: "asyncio.Future[ModelInfo]", progress: OnProgress) -> None:
        """Load and serve; runs on the thread."""
        try:
            backend = self._make_backend()
            info = backend.load(lambda part: self._outbox.call(progress, part))
        except Exception as error:  # noqa: BLE001 - passed to the caller of start
            self._outbox.settle(loaded, error)
            return
        except BaseException as error:  # noqa: BLE001 - would end the event loop
            self._outbox.settle(loaded, InternalError(f"Loading was ended by {type(error).__name__}."))
            return
        self.prompts.offer(getattr(backend, "tokenize", None), getattr(backend, "read_tokens", None))
        self._outbox.settle(loaded, info)
        try:
            self._worker.serve(backend, info.fingerprint)
        except BaseException:
            # Jobs first, because formatting a traceback can take long.
            self._outbox.deliver()
            self._worker.drop_jobs()
            self._outbox.call(self._on_death, self)
            log.exception("engine thread died", model=self._name, abandoned=self._outbox.abandoned)
        finally:
            self.prompts.close()
            backend.close()
        if self._outbox.abandoned:
            log.info("abandoned engine thread has ended", model=self._name)
