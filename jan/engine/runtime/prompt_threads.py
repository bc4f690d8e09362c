"""Tokenise prompts on threads of their own, so that no running answer waits for a prompt.

The event loop keeps the queues and gives each thread one prompt at a time. So nothing here needs a lock but the
end: a backend must not be closed while it tokenises.
"""

import asyncio
import queue
import sys
import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import Any
from weakref import WeakValueDictionary

import msgspec
import structlog

from jan.engine.base import Failed, GenerationRequest, Tokenization, TokenPrompt
from jan.engine.refusals import model_failed
from jan.engine.runtime.fair_queue import FairQueue
from jan.engine.stats import EngineStats
from jan.errors import JanError

log = structlog.get_logger(__name__)

#: ``TokenizingBackend.tokenize``.
Tokenize = Callable[[GenerationRequest], Any]

# Bytes. Longer prompts have a thread of their own, so that short ones do not wait for them.
_SHORT = 1 << 15


class SharedPrompt:
    """A prompt that is tokenised once for all sequences that have it. It lives as long as a job refers to it.

    ``tokenize``: the backend's method for it. ``size``: its length in bytes, as JSON. ``tokenized``: what the
    backend made of it.
    """

    def __init__(self, request: GenerationRequest, tokenize: Tokenize) -> None:
        self.request = request
        self.tokenize = tokenize
        self.size = len(msgspec.json.encode(request.prompt))
        self.tokenized: Any = None
        self.waiters: set[asyncio.Future[Any]] = set()

    def settle(self, outcome: Any, stats: EngineStats) -> None:
        """Tell all who wait what the backend returned, or a Failed."""
        self.tokenized = outcome
        if isinstance(outcome, Failed):
            stats.failed += len(self.waiters)
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)


class PromptThreads:
    """The threads that tokenise for one model: one for short prompts, one for long ones.

    All methods are called on the event loop, but for ``offer`` and ``close``.

    Args:
        name: the model's id.
        stats: the engine's, in which refused prompts are counted.
        on_idle: called when a thread that was busy has nothing to do.
    """

    def __init__(self, name: str, stats: EngineStats, on_idle: Callable[[], None]) -> None:
        self._shared: WeakValueDictionary[int, SharedPrompt] = WeakValueDictionary()
        self._offered: Tokenize | None = None
        self._reads: Tokenize | None = None
        self._lanes = [_Lane(lane, name, stats, on_idle) for lane in ("prompts", "long-prompts")]

    def offer(self, tokenize: Tokenize | None, read_tokens: Tokenize | None) -> None:
        """Take the functions that tokenise and that show tokens.

        Without the first, the backend tokenises on its own thread.
        """
        self._offered, self._reads = tokenize, read_tokens

    @property
    def busy_since(self) -> float | None:
        """When the longest call that tokenises now began, on the monotonic clock; None if there is none."""
        return min((lane.since for lane in self._lanes if lane.since is not None), default=None)

    async def tokenized(self, request: GenerationRequest) -> SharedPrompt | None:
        """Return the request's tokenised prompt; None if that is left to the backend's own thread.

        Sequences that have the same prompt object share it. Raises the JanError of the backend.
        """
        wants = self._reads if isinstance(request.prompt, Tokenization) else self._offered
        if wants is None or isinstance(request.prompt, TokenPrompt):
            return None
        shared = self._shared.get(id(request.prompt))
        if shared is None:
            shared = self._shared[id(request.prompt)] = SharedPrompt(request, wants)
        if shared.tokenized is None:
            await self._wait(shared)
        if isinstance(shared.tokenized, Failed):
            raise shared.tokenized.error()
        return shared

    async def _wait(self, shared: SharedPrompt) -> None:
        lane = self._lanes[shared.size > _SHORT]
        if not shared.waiters:
            lane.add(shared)
        waiter = asyncio.get_running_loop().create_future()
        shared.waiters.add(waiter)
        try:
            await waiter
        finally:
            shared.waiters.remove(waiter)
            if not shared.waiters:
                lane.remove(shared)

    def fail(self, failure: Failed) -> None:
        """Fail all prompts that are not tokenised yet."""
        for lane in self._lanes:
            lane.fail(failure)

    def stop(self) -> None:
        """Begin no further prompt."""
        for lane in self._lanes:
            lane.stop()

    def close(self) -> None:
        """Stop, and wait until no thread uses the backend."""
        for lane in self._lanes:
            lane.stop()
            lane.join()


class _Lane:
    """One thread, and the prompts that wait for it. Owners take turns by bytes. ``since``: see ``busy_since``."""

    def __init__(self, name: str, model: str, stats: EngineStats, on_idle: Callable[[], None]) -> None:
        self.since: float | None = None
        self._thread_name = f"{name}-{model}"
        self._model = model
        self._stats = stats
        self._on_idle = on_idle
        self._loop = asyncio.get_running_loop()
        # Without a limit: how many may wait is said by the queue for slots, which comes after this one.
        self._waiting: FairQueue[SharedPrompt] = FairQueue(sys.maxsize)
        self._at_work: SharedPrompt | None = None
        self._inbox: queue.SimpleQueue[SharedPrompt | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._using_backend = threading.Lock()
        self._stopped = False

    def add(self, shared: SharedPrompt) -> None:
        """Add a prompt, which waits until it is its owner's turn."""
        self._waiting.push(shared.request.owner, shared, shared.size, shared.request.priority)
        self._begin_next()

    def remove(self, shared: SharedPrompt) -> None:
        """Remove a prompt that nobody waits for any more, if it has not begun."""
        self._waiting.remove(shared.request.owner, shared, shared.request.priority)

    def fail(self, failure: Failed) -> None:
        """Fail all prompts. The thread may still be busy with one."""
        for shared in [*self._waiting.drain(), *([self._at_work] if self._at_work else [])]:
            shared.settle(failure, self._stats)

    def _begin_next(self) -> None:
        if self._at_work is not None or not self._waiting:
            return
        if self._thread is None:
            # It inherits the context, so that what it logs belongs to the server that started it.
            self._thread = threading.Thread(
                target=copy_context().run, args=(self._serve,), name=self._thread_name, daemon=True
            )
            self._thread.start()
        self._at_work, self.since = self._waiting.pop(), self._loop.time()
        self._inbox.put(self._at_work)

    def _end(self, outcome: Any) -> None:
        """Settle the prompt that was at work; called on the loop."""
        shared, self._at_work, self.since = self._at_work, None, None
        if shared is not None and shared.tokenized is None:
            shared.settle(outcome, self._stats)
        self._begin_next()
        if self.since is None:
            self._on_idle()

    def _serve(self) -> None:
        """Tokenise until the lane is stopped; runs on the thread."""
        while (shared := self._inbox.get()) is not None:
            with self._using_backend:
                if self._stopped:
                    return
                outcome = self._outcome(shared)
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._end, outcome)
            # While it waits for the next prompt, this one must not stay in memory.
            shared = outcome = None

    def _outcome(self, shared: SharedPrompt) -> Any:
        try:
            return shared.tokenize(shared.request)
        except JanError as error:
            return Failed.of(error)
        except BaseException as error:  # also what would end the thread
            log.exception("request failed in the model", model=self._model)
            return Failed.of(model_failed(self._model, error))

    def stop(self) -> None:
        """Begin no further prompt. Any thread may call it."""
        self._stopped = True
        self._inbox.put(None)

    def join(self) -> None:
        """Wait until the thread does not use the backend."""
        with self._using_backend:
            pass
